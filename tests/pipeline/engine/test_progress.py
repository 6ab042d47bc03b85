"""Plain lines of a stage: cached items tell nothing of the pace, and neither does the start of the workers."""

from __future__ import annotations

import pytest

from pipeline.engine import progress as module
from pipeline.engine.progress import progress


def test_the_estimate_leaves_out_the_start_and_what_was_cached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    time = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: time[0])
    with progress("faces", 1000) as ticker:
        ticker.skip(900)
        for at in (60, 65, 71, 82):
            time[0] = at
            ticker.advance()
    assert capsys.readouterr().out.splitlines() == [
        "faces: 901/1000, 60 s",
        "faces: 903/1000, 71 s, 534 s left",  # 5.5 s an item
        "faces: 904/1000, 82 s, 704 s left",
    ]
