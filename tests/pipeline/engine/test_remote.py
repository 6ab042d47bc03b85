"""A Dask scheduler with workers started by hand, in folders of their own, as on a cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.engine.cluster import check_seen
from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.errors import InputError
from tests import ROOT
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig
from tests.pipeline.engine.test_cluster import free_port

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, Start]]:
    """Yield the address of a scheduler and what starts a worker, in a folder of its own, with the code in ``code``."""
    address = f"tcp://127.0.0.1:{free_port()}"
    servers: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str, code: Path = ROOT) -> subprocess.Popen[bytes]:
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-m", f"distributed.cli.dask_{name.partition('-')[0]}", "--host", "127.0.0.1"]
        environment = {**os.environ, "PYTHONPATH": str(code)}
        servers.append(subprocess.Popen([*command, *arguments], cwd=folder, env=environment, stderr=subprocess.DEVNULL))
        return servers[-1]

    start("scheduler", "--no-dashboard", "--port", address.rpartition(":")[2])
    yield address, lambda name, **more: start(f"worker-{name}", "--no-dashboard", "--nthreads", "1", address, **more)
    for server in servers:
        server.kill()
        server.wait()


def items(count: int, sleep: float = 0.0) -> list[Item]:
    return [
        Item(f"i{n}", {"n": n}, lambda n=n: {"do": "double", "value": n, "sleep": sleep})  # type: ignore[misc]
        for n in range(count)
    ]


@pytest.mark.slow
def test_workers_in_other_folders_that_come_and_go_fill_one_relative_cache(
    cluster: tuple[str, Start], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, start = cluster
    monkeypatch.chdir(tmp_path)
    first, others = start("first"), []

    def load(n: int) -> dict[str, object]:
        if n == 10:
            others.append(start("second"))
        if n == 30:
            first.kill()
        return {"do": "double", "value": n, "sleep": 0.1}

    many = [Item(f"i{n}", {"n": n}, lambda n=n: load(n)) for n in range(60)]  # type: ignore[misc]
    run = RunConfig(scheduler=address, cache=Path("cache"))
    results = compute("t", Double(DoubleConfig()), many, schema=SCHEMA, run=run)
    assert [results.row(f"i{n}")["value"][0].as_py() for n in range(60)] == [[2.0 * n] * 3 for n in range(60)]
    assert not list(tmp_path.glob("worker-*/cache"))
    assert others


@pytest.mark.slow
def test_a_worker_with_other_code_is_named_with_the_difference(cluster: tuple[str, Start], tmp_path: Path) -> None:
    address, start = cluster
    other = tmp_path / "code"
    for package in ("pipeline", "tests"):
        shutil.copytree(ROOT / package, other / package, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    module = other / "tests/pipeline/engine/extractors_for_tests.py"
    module.write_text(module.read_text().replace("not to our taste", "of another version"))
    start("other", code=other)
    with pytest.raises(InputError, match=r"would compute other numbers: code: \w+ here, \w+ there"):
        compute(
            "t", Double(DoubleConfig()), items(3), schema=SCHEMA, run=RunConfig(scheduler=address, cache=tmp_path / "c")
        )


def test_a_cache_that_is_not_shared_is_a_sentence(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match="must lie in a folder that all machines of the cluster share"):
        check_seen(tmp_path / "row.arrow", seconds=0.3)
    assert 0.3 <= time.monotonic() - started < 5
