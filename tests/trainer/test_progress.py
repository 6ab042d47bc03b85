"""Plain lines where there is no terminal, and an estimate that leaves out the start."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from trainer import progress
from trainer.progress import steps


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time[0])
    return time


def test_a_log_gets_lines_and_an_estimate_by_the_pace_after_the_first(clock: list[float]) -> None:
    sink = StringIO()
    with steps("finetune: runs", Console(file=sink, width=100)) as shown:
        shown.begin(6, 1)
        for at in (100, 104, 112, 116, 120):  # the first takes 100 s, of which 96 are the start
            clock[0] = at
            shown.step("some run")
    assert sink.getvalue().splitlines() == [
        "finetune: runs: 1 of 6 were finished before",
        "finetune: runs: 2 of 6, 100 s",
        "finetune: runs: 4 of 6, 112 s, 12 s left",
        "finetune: runs: 6 of 6, 120 s",
    ]


def test_a_terminal_gets_a_bar(clock: list[float]) -> None:
    sink = StringIO()
    with steps("pretrain", Console(file=sink, width=100, force_terminal=True)) as shown:
        shown.begin(5)
        shown.step()
        shown.end()
    assert "1/1" in sink.getvalue()
