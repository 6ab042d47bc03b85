"""What became of a fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trial:
    """One fault: its kind, what was done, and whether the work survived it, was lost, or became false."""

    kind: str
    outcome: str  # survived | lost | false
    note: str = ""


def judge(kind: str, note: str, *, right: Any, during: Any, status: int, after: Any) -> Trial:
    """Judge a fault by what a command wrote in spite of it, and by what is there once it was run again.

    Args:
        kind: name of the fault.
        note: what was done, and what the command said.
        right: what the undisturbed command writes.
        during: what the disturbed command wrote.
        status: exit status of the disturbed command; 0 claims that all is well.
        after: what is there after a second, undisturbed run.
    """
    if status == 0 and during != right:
        return Trial(kind, "false", f"{note}; ended with status 0 although the table differs")
    if status == 124:
        return Trial(kind, "lost", f"{note}; the command hung")
    if after != right:
        return Trial(kind, "lost", f"{note}; another run does not bring the table back")
    return Trial(kind, "survived")
