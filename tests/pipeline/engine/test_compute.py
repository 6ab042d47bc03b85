from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from distributed import KilledWorker

from pipeline.engine.compute import Item, RunConfig, _outcome, _Try, compute
from pipeline.engine.marks import FileMarks
from pipeline.engine.results import check_failures, sound
from pipeline.errors import InputError
from tests import ROOT
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig


def item(name, value=1, do="double", **more):
    return Item(name, {"value": value, "do": do}, lambda: {"value": value, "do": do, **more})


def run_config(tmp_path, **more):
    return RunConfig(workers=2, cache=tmp_path / "cache", **more)


def table_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_crash_hang_and_error_quarantine_one_item_each_and_the_rest_goes_on(tmp_path):
    items = [item(f"good-{i}", i) for i in range(6)]
    items[2:2] = [
        item("crash", do="crash"),
        item("raise", do="raise"),
        item("no", do="quarantine"),
        item("hang", do="hang"),
    ]
    results = compute("t", Double(DoubleConfig()), items, schema=SCHEMA, run=run_config(tmp_path, item_timeout=3))
    results.write(tmp_path / "out", metadata={})
    table = pd.read_parquet(tmp_path / "out").set_index("segment_id").sort_index()
    assert (table.loc[[f"good-{i}" for i in range(6)], "status"] == "ok").all()
    assert list(table.loc["good-3", "value"]) == [6, 6, 6]
    assert table.loc["no", "reason"] == "not to our taste"
    assert table.loc["raise", "reason"] == "ValueError: broken"
    assert table.loc["crash", "reason"].startswith("killed twice: its worker process died")
    assert "longer than 3 s" in table.loc["hang", "reason"]
    with pytest.raises(InputError, match="max_failed_share"):
        check_failures("t", results, max_failed_share=0.1)


def test_items_that_waited_on_a_worker_another_item_took_down_are_run_again(tmp_path):
    # Regression: with more items sent than workers, the one queued behind a crash was quarantined with it.
    items = [item(f"crash-{i}", 100 + i, do="crash") for i in range(3)]
    items = [one for i, bad in enumerate(items) for one in (bad, item(f"good-{i}", i))]
    run = RunConfig(workers=1, cache=tmp_path / "cache")
    results = compute("t", Double(DoubleConfig()), items, schema=SCHEMA, run=run)
    assert sorted(results.quarantined()) == ["crash-0", "crash-1", "crash-2"]


def test_a_fault_of_the_whole_run_stops_it(tmp_path):
    with pytest.raises(InputError, match="weights are missing"):
        compute("t", Double(DoubleConfig()), [item("a", do="stop")], schema=SCHEMA, run=run_config(tmp_path))


def test_only_what_is_new_is_computed_and_config_is_part_of_the_key(tmp_path):
    log = tmp_path / "log"
    first = [item(f"i{n}", n, log=str(log)) for n in range(4)]
    compute("t", Double(DoubleConfig()), first, schema=SCHEMA, run=run_config(tmp_path))
    compute(
        "t", Double(DoubleConfig()), [*first, item("new", 9, log=str(log))], schema=SCHEMA, run=run_config(tmp_path)
    )
    assert sorted(log.read_text().split()) == ["0", "1", "2", "3", "9"]
    compute("t", Double(DoubleConfig(factor=3)), first[:1], schema=SCHEMA, run=run_config(tmp_path))
    assert sorted(log.read_text().split()) == ["0", "0", "1", "2", "3", "9"]


def test_bytes_do_not_depend_on_workers_or_order(tmp_path):
    items = [item(f"i{n}", n) for n in range(12)]
    for name, workers, order in [("a", 1, items), ("b", 2, items[::-1])]:
        run = RunConfig(workers=workers, cache=tmp_path / name)
        compute("t", Double(DoubleConfig()), order, schema=SCHEMA, run=run).write(tmp_path / f"{name}-out", metadata={})
    assert table_bytes(tmp_path / "a-out") == table_bytes(tmp_path / "b-out")


def test_equal_content_under_two_names_is_computed_once_and_named_right(tmp_path):
    log = tmp_path / "log"
    twins = [Item(name, {"value": 5}, lambda: {"value": 5, "do": "double", "log": str(log)}) for name in "ab"]
    results = compute("t", Double(DoubleConfig()), twins, schema=SCHEMA, run=run_config(tmp_path))
    assert log.read_text().split() == ["5"]
    assert [results.row(name)["segment_id"][0].as_py() for name in "ab"] == ["a", "b"]


def test_a_damaged_cache_entry_is_recomputed(tmp_path):
    results = compute("t", Double(DoubleConfig()), [item("a", 4)], schema=SCHEMA, run=run_config(tmp_path))
    path = results.cache.path(results.keys["a"])
    whole = path.read_bytes()
    for damaged in (whole[:50], whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:]):
        path.write_bytes(damaged)
        again = sound(
            lambda: compute("t", Double(DoubleConfig()), [item("a", 4)], schema=SCHEMA, run=run_config(tmp_path)),
            lambda results: results.write(tmp_path / "out", metadata={}),
        )
        assert again.row("a")["value"][0].as_py() == [8, 8, 8]
        assert path.read_bytes() == whole


SCRIPT = """
from pathlib import Path
from pipeline.engine.compute import Item, RunConfig, compute
from tests.pipeline.engine.extractors_for_tests import SCHEMA, Double, DoubleConfig
if __name__ == "__main__":
    root = Path({root!r})
    LOG = f"{{root}}/log"
    items = [Item(f"i{{n}}", {{"n": n}}, lambda n=n: {{"value": n, "do": "double", "sleep": 0.2, "log": LOG}})
             for n in range(30)]
    results = compute("t", Double(DoubleConfig()), items, schema=SCHEMA, run=RunConfig(workers=2, cache=root / "cache"))
    results.write(root / "out", metadata={{}})
"""


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(tmp_path):
    script = tmp_path / "script.py"
    roots = {}
    for name in ("killed", "whole"):
        roots[name] = tmp_path / name
        roots[name].mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(root):
        script.write_text(SCRIPT.format(root=str(root)))
        return subprocess.Popen([sys.executable, str(script)], env=environment)

    process = start(roots["killed"])
    log = roots["killed"] / "log"
    deadline = time.monotonic() + 60
    while not log.exists() or len(log.read_text().split()) < 8:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.5)
    before = len(log.read_text().split())
    assert before < 30
    assert not (roots["killed"] / "out").exists()
    assert start(roots["killed"]).wait() == 0
    # At most the items in flight at the kill were computed twice.
    assert len(log.read_text().split()) <= 30 + 4
    assert start(roots["whole"]).wait() == 0
    assert table_bytes(roots["killed"] / "out") == table_bytes(roots["whole"] / "out")


def test_an_item_whose_worker_died_with_the_answer_is_sent_again(tmp_path):
    # Regression: the run ended with a traceback, as the answer is fetched only after the future counts as finished.
    class Lost:
        def cancelled(self):
            return False

        def exception(self):
            return None

        def result(self):
            raise KilledWorker("run_item", SimpleNamespace(address="tls://a"), 0)

    one = _Try(item("a", 1))
    assert _outcome(Lost(), one, FileMarks(tmp_path), "key", RunConfig(), since=0.0) == replace(one, resends=1)
