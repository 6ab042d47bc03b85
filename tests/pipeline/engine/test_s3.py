"""Finished items, and DVC's copies of tables, in an S3 storage: moto's server, spoken to as Amazon's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from distributed import Client

from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.engine.results import Results
from pipeline.engine.store import Bucket, _open_in
from pipeline.errors import InputError
from tests.pipeline.engine.dask_servers import Servers
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig
from tests.pipeline.engine.test_cluster import free_port

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
pytestmark = pytest.mark.slow

URL = "s3://films/avser"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve S3 with the bucket ``films``, and name it as people do, in the environment."""
    import boto3
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # each test has a server of its own
    _open_in.cache_clear()
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in surroundings(address).items():
        monkeypatch.setenv(name, value)
    urlopen(Request(f"{address}/moto-api/reset", method="POST")).close()  # servers of one process share a memory
    boto3.client("s3").create_bucket(Bucket="films")
    yield address
    server.stop()


def surroundings(address: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip


def item(name: str, do: str = "double", **facts: Any) -> Item:
    return Item(name, {"name": name}, lambda: {"do": do, "value": 3, **facts})


def double(items: list[Item], **run: Any) -> Results:
    return compute("t", Double(DoubleConfig()), items, schema=SCHEMA, run=RunConfig(**{"cache": URL, **run}))


def objects() -> list[str]:
    import s3fs

    return list(s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True).find("films"))


def test_workers_that_hang_or_crash_are_told_apart_and_what_failed_is_not_stored(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    items = [item("good"), item("hang", "hang"), item("crash", "crash"), item("bad", "quarantine")]
    results = double(items, workers=2, item_timeout=8)
    reasons = results.quarantined()
    assert "took longer than 8 s" in reasons["hang"]
    assert "killed twice" in reasons["crash"]
    assert reasons["bad"] == "not to our taste"
    stored = {results.keys[name] for name in ("good", "bad")}
    assert {Path(path).stem for path in objects()} == stored  # no mark is left either


def test_a_cluster_without_a_common_folder(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    servers = Servers(tmp_path)
    try:
        for name in ("first", "second"):
            servers.worker(name)
        with Client(servers.address) as client:
            client.wait_for_workers(2)
        results = double([item(f"i{n}", sleep=0.05) for n in range(20)], scheduler=servers.address)
        assert not results.quarantined()
        assert len(objects()) == 20
        assert not list(tmp_path.glob("at-*/.cache"))
    finally:
        servers.stop()


def test_a_worker_that_does_not_reach_the_storage_is_named(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    servers = Servers(tmp_path, environment={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"})
    try:
        servers.worker("away")
        with pytest.raises(InputError, match=r"1 of 1 workers cannot take part(.|\n)*fails: run.cache: s3://films"):
            double([item("a")], scheduler=servers.address)
    finally:
        servers.stop()
    assert not [path for path in objects() if path.endswith(".row")]


@pytest.mark.parametrize("fault", ["no bucket", "no credentials", "no network"])
def test_a_storage_that_refuses_stops_the_run_with_one_sentence(
    endpoint: str, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        "no bucket": {},
        "no credentials": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)},
        "no network": {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"},
    }[fault]
    url = "s3://nobodys/avser" if fault == "no bucket" else URL
    code = "from tests.pipeline.engine.test_s3 import *; double([item('a')], cache=sys.argv[1], workers=1)"
    environment = {name: value for name, value in {**os.environ, **changes}.items() if value}
    done = subprocess.run([sys.executable, "-c", code, url], env=environment, capture_output=True, text=True)
    assert done.returncode
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"pipeline.errors.InputError: run.cache: {url}/t cannot be written to (")
    assert not objects()


def test_a_put_is_seen_whole_or_not_at_all_and_marks_have_an_age(endpoint: str) -> None:
    bucket = Bucket(URL)
    bucket.put("a/b", b"1")
    bucket.put("a/b", b"22")
    assert bucket.get_many(["a/b", "a/c"]) == {"a/b": b"22"}
    assert bucket.has("a/b")
    assert not bucket.has("a/c")
    assert 0 <= bucket.age("a/b") < 30
    bucket.remove("a/c")
    bucket.remove_all("a")
    assert not objects()


def test_tables_travel_by_dvc(endpoint: str, tmp_path: Path) -> None:
    pytest.importorskip("dvc_s3")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    one, two = tmp_path / "one", tmp_path / "two"

    def dvc(folder: Path, *arguments: str) -> None:
        done = subprocess.run(["dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]

    one.mkdir()
    dvc(one, "init", "--no-scm")
    dvc(one, "remote", "add", "--default", "storage", "s3://films/dvc")
    (one / "dvc.yaml").write_text(
        "stages: {t: {cmd: mkdir -p data/t && echo rows > data/t/part-000.parquet, outs: [data/t]}}"
    )
    dvc(one, "repro")
    dvc(one, "push")
    shutil.copytree(one, two, ignore=shutil.ignore_patterns("data", "cache", "tmp"))
    dvc(two, "pull")
    assert (two / "data/t/part-000.parquet").read_text() == "rows\n"
