"""Finished items in an object storage: memory of this process, with workers in threads of it."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from distributed import LocalCluster

from pipeline.engine.cache import Cache
from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.engine.marks import ObjectMarks
from pipeline.engine.results import Results
from pipeline.engine.store import Bucket
from pipeline.errors import InputError
from pipeline.params import load_params
from tests import ROOT
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig

MEMORY = fsspec.filesystem("memory")


@pytest.fixture
def url() -> Iterator[str]:
    name = f"bucket-{uuid.uuid4().hex}"
    yield f"memory://{name}/avser"
    if MEMORY.exists(f"/{name}"):
        MEMORY.rm(f"/{name}", recursive=True)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")
        with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
            yield cluster.scheduler_address


def items(log: Path, count: int = 5) -> list[Item]:
    return [
        Item(f"i{n}", {"n": n}, lambda n=n: {"do": "double", "value": n, "log": str(log)})  # type: ignore[misc]
        for n in range(count)
    ]


def double(what: list[Item], **run: Any) -> Results:
    return compute("t", Double(DoubleConfig()), what, schema=SCHEMA, run=RunConfig(**run))


def on_a_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder, as a machine that shares none; return the path of its log."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder / "log"


def objects(url: str) -> list[str]:
    root = url.removeprefix("memory:/")
    return sorted(path.removeprefix(f"{root}/") for path in MEMORY.find(root))


def test_machines_without_a_common_folder_share_finished_items(
    url: str, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = on_a_machine(tmp_path / "one", monkeypatch)
    results = double(items(log), cache=url, scheduler=scheduler)
    results.write(tmp_path / "one/table", metadata={})
    assert len(log.read_text().splitlines()) == 5
    assert objects(url) == sorted(f"t/{key[:2]}/{key}.row" for key in results.keys.values())  # and no marks
    log = on_a_machine(tmp_path / "two", monkeypatch)
    double(items(log), cache=url, scheduler=scheduler).write(tmp_path / "two/table", metadata={})
    assert not log.exists()  # nothing was computed again
    log = on_a_machine(tmp_path / "near", monkeypatch)
    near = double(items(log), cache=tmp_path / "cache", workers=1)
    near.write(tmp_path / "near/table", metadata={})
    assert near.keys == results.keys
    for path in (tmp_path / "near/table").iterdir():
        assert path.read_bytes() == (tmp_path / "one/table" / path.name).read_bytes()
        assert path.read_bytes() == (tmp_path / "two/table" / path.name).read_bytes()


def test_a_damaged_object_counts_as_absent(
    url: str, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = double(items(on_a_machine(tmp_path / "one", monkeypatch)), cache=url, scheduler=scheduler)
    damaged = Bucket(f"{url}/t")
    name = f"{results.keys['i3'][:2]}/{results.keys['i3']}.row"
    content = damaged.get(name)
    assert content is not None
    damaged.put(name, content[:-1])
    log = on_a_machine(tmp_path / "two", monkeypatch)
    double(items(log), cache=url, scheduler=scheduler)
    assert log.read_text().splitlines() == ["3"]
    assert damaged.get(name) == content


def test_a_cache_without_a_bucket_fetches_nothing(tmp_path: Path) -> None:
    Cache(tmp_path, "t", SCHEMA).fetch(["aa"])


def test_marks_tell_a_hang_from_a_crash_by_the_clock_of_the_storage(url: str) -> None:
    marks = ObjectMarks(Bucket(url), "attempts/run")
    with marks.attempt("a", timeout=100):
        assert marks.began("a")
        assert not marks.took_too_long("a", timeout=100)
        assert marks.took_too_long("a", timeout=0.5)
        assert not marks.took_too_long("a", timeout=0.5, since=60)  # it is only now that the driver looks
    assert not marks.began("a")
    assert not marks.took_too_long("a", timeout=0.5)
    marks.forget("a")
    Bucket(url).put("attempts/run/b", b"left by a process that died")
    marks.clear()
    assert not objects(url)


class Broken:
    """A file system that does not answer."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_arguments: Any, **_options: Any) -> Any:
            raise ConnectionError("no route to host\nand more")

        return fail


def test_a_storage_that_does_not_answer_is_one_sentence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(url)
    monkeypatch.setattr("pipeline.engine.store._open", lambda _url: Broken())
    for ask in (
        lambda: bucket.put("a", b""),
        lambda: bucket.get("a"),
        lambda: bucket.has("a"),
        lambda: bucket.age("a"),
    ):
        with pytest.raises(InputError, match=r"cannot be .* \(no route to host\): check name, cred"):
            ask()
    bucket.remove_all("a")  # of marks that stay nothing depends


@pytest.mark.parametrize(
    ("cache", "message"),
    [("nothing://a/b", "is no place that fsspec knows"), ("s3://a/b", r"needs a package .* pip install '\.\[s3\]'")],
)
def test_a_storage_that_cannot_be_had_says_what_it_needs(
    cache: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # fsspec.registry is a mapping
    with pytest.raises(InputError, match=message):
        double(items(on_a_machine(tmp_path / "one", monkeypatch)), cache=cache, workers=1)


def test_a_url_stays_a_url_and_the_rest_are_folders(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("cache: .cache/avser ", "cache: s3://bucket/avser "))
    run = load_params(tmp_path / "params.yaml").run
    assert (run.bucket, run.folder.parent) == ("s3://bucket/avser", Path(".cache/buckets"))
    assert RunConfig(cache="s3://other/avser").folder != run.folder
    plain = RunConfig(cache="a/b")
    assert (plain.bucket, plain.folder) == ("", Path("a/b"))
    assert RunConfig(cache="file" + ":///a/b").folder == Path("/a/b")
    assert os.fspath(RunConfig().folder) == ".cache/avser"
