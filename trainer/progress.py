"""How far a command is: a bar on a terminal, plain lines elsewhere (``dvc repro``, a log, a pipe)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 10.0  # how often a log gets a line


class Steps:
    """Counts the finished steps of a command."""

    def __init__(self, name: str, console: Console, bar: Progress | None) -> None:
        self.name, self.console, self.bar = name, console, bar
        self.total = self.done = 0
        self.started = self.reported = time.monotonic()
        self.first: tuple[float, int] | None = None  # when the first step was finished, and how many were then
        self.task = bar.add_task(name, total=None) if bar is not None else None

    def begin(self, total: int, done: int = 0) -> None:
        """Say how many steps there are, and how many were finished in an earlier run."""
        self.total, self.done = total, done
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, total=total, completed=done)
        elif done:
            self._say(f"{self.name}: {done} of {total} were finished before")

    def step(self, what: str = "") -> None:
        """Say that one more is finished, and which."""
        self.done += 1
        now = time.monotonic()
        if self.first is None:
            self.first = now, self.done
        if self.bar is not None and self.task is not None:
            description = f"{self.name}: {escape(what)}" if what else self.name
            self.bar.update(self.task, completed=self.done, description=description)
        elif now - self.reported >= PLAIN_SECONDS or self.done == self.total:
            self.reported = now
            self._say(f"{self.name}: {self.done} of {self.total}, {now - self.started:.0f} s{self._left(now)}")

    def end(self) -> None:
        """Say that there are no further steps: early stopping ends before the last epoch."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, total=self.done)

    def _left(self, now: float) -> str:
        """Estimate the rest by the pace since the first finished step: to start takes time once."""
        if self.first is None or self.done == self.total or self.done == self.first[1]:
            return ""
        pace = (now - self.first[0]) / (self.done - self.first[1])
        return f", {pace * (self.total - self.done):.0f} s left"

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


@contextmanager
def steps(name: str, console: Console) -> Iterator[Steps]:
    """Show the progress of ``name`` while the block runs."""
    if not console.is_terminal:
        yield Steps(name, console, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield Steps(name, console, bar)
