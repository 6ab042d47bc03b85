"""Independent trainings: what is done is left alone, and two that are the same are one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from trainer.store import is_done, seal
from trainer.training.jobs import train_missing


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
