"""Independent trainings: what is done is left alone, and two that are the same are one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from trainer.errors import InputError
from trainer.store import is_done, seal
from trainer.training.jobs import in_processes, train_missing


def _finish(home: Path, key: str) -> None:
    (home / key).mkdir(parents=True)
    (home / key / "metrics.json").write_text("{}")
    seal(home / key)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_missing_is_done_once_and_counted(tmp_path: Path, workers: int) -> None:
    _finish(tmp_path, "b")
    started: list[tuple[int, int]] = []
    done: list[str] = []
    jobs = {key: key for key in "abca"}
    for _ in range(2):
        train_missing(
            jobs,
            partial(is_done, tmp_path),
            _finish,
            tmp_path,
            workers=workers,
            on_start=lambda *counts: started.append(counts),
            on_done=done.append,
        )
    assert started == [(3, 1), (3, 3)]
    assert sorted(done) == ["a", "c"]


def test_the_end_waits_for_no_worker_that_does_not_answer(tmp_path: Path) -> None:
    # A worker killed while it waited for its next job left the queue locked, and the command hung after its last run.
    before = set(multiprocessing.active_children())
    done = in_processes(_finish, tmp_path, {key: key for key in "abc"}, workers=2)
    assert sorted([next(done), next(done), next(done)]) == ["a", "b", "c"]
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid or 0, signal.SIGSTOP)
    start = time.monotonic()
    assert list(done) == []
    assert time.monotonic() - start < 10
    assert not set(multiprocessing.active_children()) - before


def _fail_at_once_or_work(home: Path, key: str) -> None:
    if key == "wrong":
        raise InputError("wrong.parquet: no such column")
    time.sleep(1.0)
    _finish(home, key)


def test_an_error_of_one_job_lets_the_running_one_finish(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"wrong\.parquet"):
        list(in_processes(_fail_at_once_or_work, tmp_path, {"a": "a", "wrong": "wrong"}, workers=2))
    assert is_done(tmp_path, "a")


def _finish_after(home: Path, job: tuple[str, tuple[str, ...]]) -> None:
    key, before = job
    assert all(is_done(home, other) for other in before), f"{key} began before {before}"
    time.sleep(0.1)
    _finish(home, key)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_begins_when_those_that_it_needs_are_done(tmp_path: Path, workers: int) -> None:
    _finish(tmp_path, "t0")  # by an earlier command
    needs = {"s1": ("t0", "t1", "t2"), "s2": ("t1", "t3"), "t1": (), "t2": (), "t3": (), "t0": ()}
    jobs = {key: (key, before) for key, before in needs.items()}
    train_missing(jobs, partial(is_done, tmp_path), _finish_after, tmp_path, workers=workers, needs=needs)
    assert all(is_done(tmp_path, key) for key in jobs)
