"""Worker processes: nobody else gets at them, and their troubles end in a sentence."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import dask
import distributed  # noqa: F401 - its defaults are part of the settings
import psutil
import pytest

from pipeline.engine.cluster import connect, kept_workers
from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.errors import InputError
from tests import ROOT
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig

# A client as anybody on the machine can write it; of another uid, where the tests may change theirs.
STRANGER = """
import os, sys
from distributed import Client
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for address in sys.argv[1:]:
    try:
        with Client(address, timeout=3) as client:
            print("ran code at", address, client.submit(os.getuid).result(timeout=3))
    except Exception as error:
        print("refused", type(error).__name__)
"""


def ask_as_stranger(*addresses):
    command = [sys.executable, "-c", STRANGER, *addresses]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120, check=True).stdout.splitlines()


def family():
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def listening():
    """Return the ports that this process and its children listen on."""
    return {c.laddr.port for process in family() for c in process.net_connections("tcp") if c.status == "LISTEN"}


def test_a_stranger_can_neither_run_code_nor_reach_a_web_page(recwarn):
    before = listening()
    with connect("", workers=1) as client:
        assert client.submit(os.getuid).result(timeout=30) == os.getuid()
        address = client.scheduler.address
        assert address.startswith("tls://")
        ports = listening() - before
        assert len(ports) == 3  # scheduler, worker and its nanny; no web server
        asked = [f"{protocol}://127.0.0.1:{port}" for port in ports for protocol in ("tcp", "tls")]
        answers = ask_as_stranger(*asked)
        assert len(answers) == len(asked)
        assert all(line.startswith("refused") for line in answers)
    assert not [str(w.message) for w in recwarn if "8787" in str(w.message)]


def test_the_stranger_of_these_tests_can_run_code_where_a_scheduler_is_open():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, processes=False, protocol="tcp://", dashboard_address=None) as cluster:
        assert ask_as_stranger(cluster.scheduler_address)[0].startswith("ran code")


def test_a_scheduler_that_is_not_there_is_a_sentence():
    with pytest.raises(InputError, match="no Dask scheduler answers at nonsense"), connect("nonsense://x", workers=1):
        pass


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_scheduler_file_that_is_none_is_a_sentence(tmp_path, content):
    path = tmp_path / "scheduler.json"
    with pytest.raises(InputError, match="is no scheduler file"), connect(str(path), workers=1):
        pass
    path.write_text(content)
    with pytest.raises(InputError, match="is no scheduler file"), connect(str(path), workers=1):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill_first_child(sort, stop):
    known = {process.pid for process in family()}
    while not stop.is_set():
        for process in family():
            if process.pid not in known and "spawn_main" in " ".join(process.cmdline()):
                known.add(process.pid)
                process.kill()
                if sort == "once":
                    return
        time.sleep(0.01)


@pytest.mark.parametrize("sort", ["once", "always"])
def test_a_worker_killed_while_it_starts(sort):
    stop = threading.Event()
    killer = threading.Thread(target=kill_first_child, args=(sort, stop))
    killer.start()
    try:
        if sort == "once":
            with connect("", workers=1) as client:
                assert client.submit(os.getuid).result(timeout=60) == os.getuid()
        else:
            with pytest.raises(InputError, match="did not start"), connect("", workers=1):
                pass
    finally:
        stop.set()
        killer.join()


def test_the_keys_of_a_run_lie_where_nobody_else_can_look(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with connect("", workers=1):
        (folder,) = tmp_path.glob("avser-workers-*")
        assert folder.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.iterdir())


def test_a_scheduler_that_dies_on_the_way_is_a_sentence_and_finished_items_stay(tmp_path):
    log, port = tmp_path / "log", free_port()
    address = f"tcp://127.0.0.1:{port}"
    here = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "stderr": subprocess.DEVNULL}
    python = [sys.executable, "-m"]
    options = ["--no-dashboard", "--host", "127.0.0.1"]
    servers = [
        subprocess.Popen([*python, "distributed.cli.dask_scheduler", *options, "--port", str(port)], **here),
        subprocess.Popen([*python, "distributed.cli.dask_worker", *options, "--nthreads", "1", address], **here),
    ]
    items = [
        Item(f"i{n}", {"n": n}, lambda n=n: {"do": "double", "value": n, "sleep": 0.2, "log": str(log)})
        for n in range(40)
    ]
    run = RunConfig(scheduler=address, cache=tmp_path / "cache")

    def kill_when_one_is_done():
        while not list((tmp_path / "cache/t").glob("??/*.row")):
            time.sleep(0.05)
        servers[0].kill()

    killer = threading.Thread(target=kill_when_one_is_done)
    killer.start()
    try:
        with pytest.raises(InputError, match=r"the scheduler at .* is gone"):
            compute("t", Double(DoubleConfig()), items, schema=SCHEMA, run=run)
    finally:
        killer.join()
        for server in servers:
            server.kill()
            server.wait()
    assert list((tmp_path / "cache/t").glob("??/*.row"))


def test_workers_that_are_kept_serve_the_next_call_and_then_leave():
    def pids(client):
        return set(client.run(os.getpid).values())

    setting = "distributed.scheduler.allowed-failures"
    before = dask.config.get(setting)
    with kept_workers():
        with connect("", workers=1) as client:
            first = pids(client)
        assert dask.config.get(setting) == 0  # Dask's settings last as long as the workers do
        with connect("", workers=1) as client:
            assert pids(client) == first
        with connect("", workers=2) as client:  # more are wanted than there are
            assert len(pids(client)) == 2
    assert dask.config.get(setting) == before
    assert not any(psutil.pid_exists(pid) for pid in first)
    with connect("", workers=1) as client:  # as ever
        assert len(pids(client)) == 1
