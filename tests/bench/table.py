"""How a measurement is taken and shown: two ways of the same work, in turn, by CPU time, that of children included."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        what: that is compared.
        ours: CPU seconds, or the number that ``unit`` names.
        other: the same of the yardstick; None where there is none.
        unit: of both.
        note: amounts, and what the yardstick is.
    """

    what: str
    ours: float
    other: float | None = None
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours by the yardstick's; below 1 is faster."""
        return self.ours / self.other if self.other else None

    def row(self) -> dict[str, object]:
        """Return what ``bench.json`` holds."""
        return {**asdict(self), "ratio": self.ratio}


def in_turn(ours: Callable[[], object], other: Callable[[], object], *, rounds: int = 3) -> tuple[float, float]:
    """Return the median CPU seconds of both, run in turn after one uncounted round, so that drift meets both alike."""
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for work, times in zip((ours, other), spent, strict=True):
            began = cpu_seconds()
            work()
            if number:
                times.append(cpu_seconds() - began)
    return median(spent[0]), median(spent[1])


def cpu_seconds() -> float:
    """Return what this process and the children that it waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
