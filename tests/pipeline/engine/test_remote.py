"""A Dask scheduler with workers started by hand, in folders of their own, as on a cluster."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from pipeline.engine.cluster import check_seen
from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.engine.results import Results
from pipeline.engine.store import Folder
from pipeline.engine.workers import Answer, Needs, check_here, check_workers, lacking, made_by
from pipeline.errors import InputError
from tests import ROOT
from tests.pipeline.engine.dask_servers import Servers
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    started = Servers(tmp_path)
    yield started
    started.stop()


def item(n: int, sleep: float = 0.0) -> Item:
    return Item(f"i{n}", {"n": n}, lambda: {"do": "double", "value": n, "sleep": sleep})


def double(items: list[Item], cache: Path, *, scheduler: str = "") -> Results:
    run = RunConfig(scheduler=scheduler, cache=cache, workers=1)
    return compute("t", Double(DoubleConfig()), items, schema=SCHEMA, run=run)


def written(results: Results, folder: Path) -> dict[str, str]:
    """Write the table; return its files with their hashes."""
    results.write(folder, metadata={})
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.slow
def test_workers_in_other_folders_that_come_and_go_give_the_table_of_a_local_run(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, _ = servers.worker("first"), servers.worker("second")
    with Client(servers.address) as client:
        client.wait_for_workers(2)

    def load(n: int) -> dict[str, object]:
        if n == 10:
            first.kill()
        if n == 20:
            servers.worker("third")
        return {"do": "double", "value": n, "sleep": 0.1}

    many = [Item(f"i{n}", {"n": n}, lambda n=n: load(n)) for n in range(80)]  # type: ignore[misc]
    far = double(many, Path("cache"), scheduler=servers.address)
    near = double([item(n) for n in range(80)], Path("near"))
    assert written(far, tmp_path / "far") == written(near, tmp_path / "near-table")
    assert not list(tmp_path.glob("at-*/cache"))


def copy_code(folder: Path, old: str, new: str) -> Path:
    for package in ("pipeline", "tests"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    module = folder / "tests/pipeline/engine/extractors_for_tests.py"
    assert old in module.read_text()
    module.write_text(module.read_text().replace(old, new))
    return folder


@pytest.mark.slow
def test_all_workers_that_cannot_take_part_are_named_at_the_start(servers: Servers, tmp_path: Path) -> None:
    servers.worker("sound")
    servers.worker("edited", code=copy_code(tmp_path / "edited", "not to our taste", "of another version"))
    servers.worker("lacking", code=copy_code(tmp_path / "lacking", "import numpy as np", "import no_such as np"))
    with Client(servers.address) as client:
        client.wait_for_workers(3)
        addresses = set(client.scheduler_info(n_workers=-1)["workers"])
    with pytest.raises(InputError, match="2 of 3 workers cannot take part") as caught:
        double([item(0)], tmp_path / "c", scheduler=servers.address)
    said = str(caught.value)
    assert "would compute other numbers: code: " in said
    assert "cannot load the code" in said
    assert "No module named 'no_such'" in said
    assert sum(address in said for address in addresses) == 2
    assert not list((tmp_path / "c").rglob("*.row"))  # nothing was begun


def with_a_late_worker(servers: Servers, code: Path, *, count: int) -> list[Item]:
    """Return items, of which the third starts a worker with this code."""
    servers.worker("sound")

    def load(n: int) -> dict[str, object]:
        if n == 2:
            servers.worker("late", code=code)
        return {"do": "double", "value": n, "sleep": 0.1}

    return [Item(f"i{n}", {"n": n}, lambda n=n: load(n)) for n in range(count)]  # type: ignore[misc]


@pytest.mark.slow
def test_a_worker_that_joins_late_is_asked_by_its_first_item(servers: Servers, tmp_path: Path) -> None:
    code = copy_code(tmp_path / "code", "not to our taste", "of another version")
    many = with_a_late_worker(servers, code, count=300)
    with pytest.raises(InputError, match=r"would compute other numbers: code: \w+ here, \w+ there"):
        double(many, tmp_path / "c", scheduler=servers.address)


@pytest.mark.slow
def test_a_worker_that_joins_late_and_cannot_load_the_code_costs_no_item(servers: Servers, tmp_path: Path) -> None:
    code = copy_code(tmp_path / "code", "import numpy as np", "import no_such as np")
    results = double(with_a_late_worker(servers, code, count=60), tmp_path / "c", scheduler=servers.address)
    assert "No module named 'no_such'" in (tmp_path / "at-late/log").read_text()
    assert not results.quarantined()


def needs(tmp_path: Path, **changes: Any) -> Needs:
    """Return what a worker of a sound cluster needs; its token is written."""
    extractor = Double(DoubleConfig())
    store = Folder(tmp_path / "cache")
    made = made_by(extractor, extractor.config)
    found = replace(Needs(Double, extractor.config, made, store, "attempts/run", seconds=0.2), **changes)
    store.put("attempts/run/token", b"token")
    return found


def test_a_worker_says_all_that_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    film = tmp_path / "film"
    film.write_bytes(b"123")
    media = ((str(film), 3), (str(tmp_path / "away"), 3), (str(film), 4))
    other = json.dumps({**json.loads(needs(tmp_path).made_by), "pyarrow": "1.0"})
    assert not lacking(needs(tmp_path)).lacks
    monkeypatch.delenv("OMP_NUM_THREADS")
    cache, numbers, threads, away, size = lacking(
        needs(tmp_path, store=Folder(tmp_path / "elsewhere"), made_by=other, media=media)
    ).lacks
    assert "does not see" in cache
    assert not (tmp_path / "elsewhere").exists()  # a worker makes no cache of its own
    assert "pyarrow: 1.0 here" in numbers
    assert threads.endswith("or with OMP_NUM_THREADS=1")
    assert "cannot see" in away
    assert "another file" in size
    with pytest.raises(InputError, match=r"the worker on .* would compute other numbers: pyarrow"):
        check_here(needs(tmp_path, made_by=other))


class FakeClient:
    """Of a scheduler whose workers give these answers."""

    def __init__(self, answers: dict[str, object], *, present: list[str]) -> None:
        self.answers, self.present = answers, present

    def run(self, *_arguments: object, **_options: object) -> dict[str, object]:
        return self.answers

    def scheduler_info(self, **_options: object) -> dict[str, object]:
        return {"workers": self.present}


def test_a_worker_that_left_is_no_fault_and_one_that_writes_elsewhere_is(tmp_path: Path) -> None:
    gone = OSError("Timed out trying to connect")
    check_workers(FakeClient({"tcp://a": gone}, present=[]), needs(tmp_path))
    with pytest.raises(InputError, match="1 of 1 workers") as caught:
        check_workers(FakeClient({"tcp://a": gone}, present=["tcp://a"]), needs(tmp_path))
    assert "tcp://a: the worker gave no answer" in str(caught.value)
    elsewhere = {name: Answer("node7", (), "attempts/run/reply") for name in ("tcp://b", "tcp://c")}
    with pytest.raises(InputError, match=r"tcp://b, tcp://c on node7: the worker has written .* not seen here"):
        check_workers(FakeClient(elsewhere, present=list(elsewhere)), needs(tmp_path))


def test_a_cache_that_is_not_shared_is_a_sentence(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match="must lie in a folder that all machines of the cluster share"):
        check_seen(tmp_path / "row.row", seconds=0.3)
    assert 0.3 <= time.monotonic() - started < 5
