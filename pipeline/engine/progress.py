"""A progress line for people: stage, items done, time left; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 10.0  # how often a log file gets a line


class Ticker:
    """Counts finished items of one stage."""

    def __init__(self, stage: str, total: int, bar: Progress | None) -> None:
        self.stage, self.total, self.bar = stage, total, bar
        self.done = 0
        self.first: tuple[float, int] | None = None  # when the first item was finished, and how many were then
        self.started = self.reported = time.monotonic()
        self.task = bar.add_task(stage, total=total) if bar is not None else None

    def skip(self, count: int) -> None:
        """Say that ``count`` items were finished before, which tells nothing of the pace."""
        self.done += count
        if self.bar is not None and self.task is not None:
            self.bar.advance(self.task, count)

    def advance(self, count: int = 1) -> None:
        """Say that ``count`` more items are done."""
        self.done += count
        now = time.monotonic()
        if self.first is None:
            self.first = now, self.done
        if self.bar is not None and self.task is not None:
            self.bar.advance(self.task, count)
            return
        if now - self.reported >= PLAIN_SECONDS or self.done == self.total:
            self.reported = now
            print(f"{self.stage}: {self.done}/{self.total}, {now - self.started:.0f} s{self._left(now)}", flush=True)

    def _left(self, now: float) -> str:
        """Estimate the rest by the pace since the first finished item: to start the workers takes time once."""
        if self.first is None or self.done == self.total or self.done == self.first[1]:
            return ""
        pace = (now - self.first[0]) / (self.done - self.first[1])
        return f", {pace * (self.total - self.done):.0f} s left"


@contextmanager
def progress(stage: str, total: int) -> Iterator[Ticker]:
    """Show the progress of ``total`` items of ``stage`` while the block runs."""
    if not sys.stdout.isatty():
        yield Ticker(stage, total, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console()) as bar:
        yield Ticker(stage, total, bar)
