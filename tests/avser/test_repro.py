"""How much of the flow is left, by what its stages took the last time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from avser.repro import TIMES, follow, read_times, remove_broken_lock, repro
from pipeline.errors import InputError

ORDER = ["a", "b@x", "b@y", "c"]
LINES = ["Running stage 'a':\n", "> one\n", "Stage 'b@x' didn't change, skipping\n", "Running stage 'b@y':\n",
         "Running stage 'c':\n", "done\n"]  # fmt: skip


def ticking(step: float):
    """A clock that goes on by ``step`` s with every look."""
    times = iter(range(1000))
    return lambda: step * next(times)


def test_the_first_run_counts_stages_and_learns_their_times() -> None:
    seconds: dict[str, float] = {}
    lines = list(follow(LINES, ORDER, seconds, clock=ticking(10)))
    assert [line for line in lines if line.startswith("==")] == [
        "== stage 1 of 4: a\n", "== stage 3 of 4: b@y\n", "== stage 4 of 4: c\n",
    ]  # fmt: skip
    assert [line for line in lines if not line.startswith("==")] == LINES
    assert set(seconds) == {"a", "b@y", "c"}


def test_the_next_run_says_what_is_left_without_what_is_skipped() -> None:
    seconds = {"a": 60.0, "b@x": 400.0, "b@y": 120.0, "c": 60.0}
    said = [line for line in follow(LINES, ORDER, seconds, clock=ticking(10)) if line.startswith("==")]
    assert said[0] == "== stage 1 of 4: a; about 11 min left, by the last run\n"
    assert said[1] == "== stage 3 of 4: b@y; about 3 min left, by the last run\n"
    assert said[2] == "== stage 4 of 4: c; about 60 s left, by the last run\n"


@pytest.mark.parametrize("content", ["", "[1]", '{"a": "x"}', "no json"])
def test_a_damaged_memory_is_forgotten(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    assert read_times(tmp_path / "t.json") == {}


def test_without_a_flow_it_says_where_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="project's root"):
        repro()


def test_times_of_finished_stages_outlive_a_killed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {first: {cmd: 'true'}, second: {cmd: 'true'}}\n")

    def killed(lines: object, order: object, seconds: dict[str, float]) -> Iterator[str]:
        seconds["first"] = 3.0
        raise KeyboardInterrupt
        yield ""

    monkeypatch.setattr("avser.repro.follow", killed)
    with pytest.raises(KeyboardInterrupt):
        repro(["--version"])
    assert read_times(TIMES) == {"first": 3.0}


def test_a_list_of_locks_that_a_killed_run_left_half_written_is_removed(tmp_path, capsys):
    # Regression: DVC refused every later run ("Unable to read RWLock-file ... JSON structure is corrupted").
    path = tmp_path / "rwlock"
    remove_broken_lock(path, wait=0)
    for whole in ("{}", '{"read": {}, "write": {}}'):
        path.write_text(whole)
        remove_broken_lock(path, wait=0)
        assert path.read_text() == whole
    assert not capsys.readouterr().err
    path.write_text('{"a": {"re')
    remove_broken_lock(path, wait=0)
    assert not path.exists()
    assert "was damaged" in capsys.readouterr().err
