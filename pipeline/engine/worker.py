"""One item inside a worker process: computed within its time limit and stored; and why a process ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from pipeline.config import Config
from pipeline.contracts import OK, QUARANTINED
from pipeline.engine.cache import Cache
from pipeline.engine.content import Source
from pipeline.engine.marks import Marks
from pipeline.engine.storage import cannot_write, check_temporary
from pipeline.engine.workers import Needs, check_here, made
from pipeline.errors import InputError, Quarantined, Transient


class Failure(NamedTuple):
    """Why an item has no row in the cache; the next run tries it again.

    Attributes:
        reason: for people, in the table.
        passing: a fault of the machine and not of the file.
    """

    reason: str
    passing: bool


@dataclass(frozen=True)
class Task:
    """What a worker needs to know of one item.

    Attributes:
        payload: the dict the extractor is called with.
        key: where the row is stored.
        ids: the row's id column and its value.
        source: the media file, if the item is read from one.
    """

    payload: dict[str, Any]
    key: str
    ids: dict[str, str]
    source: Source | None = None


def run_item(
    cls: type, config: Config, task: Task, *, rows: Cache, marks: Marks, timeout: float, needs: Needs | None = None
) -> Failure | None:
    """Compute one item and store its row; return why, if the next run should try it again.

    After ``timeout`` s the process ends itself.

    Args:
        cls: the extractor's class.
        config: its config, with absolute paths.
        task: the item.
        rows: where rows are stored.
        marks: of this run, which say which items have begun.
        timeout: s.
        needs: what this worker must have and see, where it may be of another machine or installation.

    Raises:
        InputError: what is wrong for every item alike, such as a full disk.
    """
    if needs:
        check_here(needs)
    try:
        with marks.attempt(task.key, timeout=timeout):
            row = _attempt(partial(made, cls, config), task)
        if isinstance(row, Failure):
            return row
        rows.write(task.key, {**row, **task.ids})
    except OSError as error:  # the extractor's own are among its failures
        raise cannot_write(str(rows.store), error) from error
    return None


def _attempt(extractor: Callable[[], Any], task: Task) -> dict[str, Any] | Failure:
    try:
        return _row(extractor, task)
    except InputError:
        raise  # wrong for every item alike: the driver stops the run
    except Transient as reason:
        check_temporary()
        return Failure(str(reason), passing=True)
    except Exception as error:  # one bad file of any kind must not stop the run
        check_temporary(error if isinstance(error, OSError) else None)
        return Failure(f"{type(error).__name__}: {error}", passing=isinstance(error, OSError | MemoryError))


def _row(extractor: Callable[[], Any], task: Task) -> dict[str, Any]:
    """Return the row of an item, ok or with a reason that is a property of its content."""
    before = task.source.check() if task.source else None
    try:
        row = {**extractor()(task.payload), "status": OK}
    except Transient:
        raise
    except Quarantined as reason:
        row = {"status": QUARANTINED, "reason": str(reason)}
        # A reason is believed where the machine is sound: there is room, and the whole file can be read.
        check_temporary()
        if task.source:
            task.source.check(anew=True)
    if task.source and before:
        task.source.check_unchanged(before)
    return row
