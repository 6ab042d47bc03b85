"""Run an extractor over many items in Dask worker processes, once for every stage.

What it owes its users: finished items survive a kill (each is in the content-keyed cache the moment it is
done), an item that fails, hangs or takes its process down is quarantined with the reason while the rest goes
on, and the result depends neither on the number of workers nor on their order.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from pipeline.config import Config
from pipeline.engine.cache import Cache
from pipeline.engine.cluster import connect
from pipeline.engine.identity import digest, identity
from pipeline.engine.progress import progress
from pipeline.engine.results import Results
from pipeline.engine.worker import run_item, why_killed
from pipeline.errors import InputError

MAX_RESENDS = 10  # how often an item that had not begun is sent again after the worker it waited on died


class RunConfig(Config):
    """How work is run. Nothing here changes a number, so nothing here is part of a cache key."""

    workers: int = Field(0, ge=0, description="worker processes; 0: one a core")
    scheduler: str = Field("", description="address of a running Dask scheduler; empty: a local cluster")
    item_timeout: float = Field(600.0, gt=0, description="seconds one item may take before it is quarantined")
    max_failed_share: float = Field(0.5, ge=0, le=1, description="a stage that quarantines more than this fails")
    cache: Path = Field(Path(".cache/avser"), description="finished items, keyed by content; safe to delete")


@dataclass(frozen=True)
class Item:
    """One unit of work.

    Attributes:
        id: what people call it (clip or segment id); unique in the stage.
        inputs: JSON-able facts that determine the result (content hash, start, end, upstream key).
        load: returns the dict the extractor is called with; called late, so that few are in memory.
    """

    id: str
    inputs: dict[str, Any]
    load: Callable[[], dict[str, Any]]


def compute(
    stage: str, extractor: Any, items: list[Item], *, schema: pa.Schema, run: RunConfig, id_column: str = "segment_id"
) -> Results:
    """Compute every item that is not in the cache; return the rows of all.

    Args:
        stage: name shown to people and folder of the cache.
        extractor: instance with ``config``, ``modules``, ``packages`` and ``__call__`` (one item to one row).
        items: what to compute; ids are unique.
        schema: Arrow schema of a row; has ``id_column``, ``status`` and ``reason``.
        run: workers, scheduler, time limit, cache place.
        id_column: the column that carries the item's id.

    Raises:
        InputError: two items share an id, or a fault of the run as a whole came back from a worker.
    """
    if len({item.id for item in items}) != len(items):
        raise InputError(f"{stage}: two items share an id")
    code = identity(extractor)
    cache = Cache(run.cache, stage, schema)
    results = Results(cache, {item.id: digest([code, item.inputs]) for item in items}, id_column=id_column)
    pending = [item for item in items if not cache.has(results.keys[item.id])]
    # Equal content under several ids is computed once.
    pending = list({results.keys[item.id]: item for item in reversed(pending)}.values())[::-1]
    with progress(stage, len(items)) as ticker:
        ticker.advance(len(items) - len(pending))
        if pending:
            failed = _run(extractor, pending, results, run, ticker.advance)
            results.failed = {i: failed[key] for i, key in results.keys.items() if key in failed}
    return results


def _run(
    extractor: Any, pending: list[Item], results: Results, run: RunConfig, advance: Callable[[], None]
) -> dict[str, str]:
    """Send items to the workers, a few more than there are workers at a time; return key -> reason of failures."""
    from distributed import KilledWorker, as_completed

    failed: dict[str, str] = {}
    work = partial(run_item, type(extractor), extractor.config, rows=results.cache, timeout=run.item_timeout)
    queue = deque((item, 0) for item in pending)
    workers = min(run.workers or os.cpu_count() or 1, len(pending))
    with connect(run.scheduler, workers=workers) as client:
        done = as_completed()
        running: dict[str, tuple[Item, int]] = {}

        def submit() -> None:
            if not queue:
                return
            item, resends = queue.popleft()
            ids = {results.id_column: item.id}
            future = client.submit(work, item.load(), results.keys[item.id], ids, pure=False)
            running[future.key] = item, resends
            done.add(future)

        for _ in range(2 * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))):
            submit()
        for future in done:
            item, resends = running.pop(future.key)
            mark = results.cache.attempt(results.keys[item.id])
            error = future.exception()
            if isinstance(error, KilledWorker) and not mark.exists() and resends < MAX_RESENDS:
                # It only waited on the worker that another item took down, or was done but not yet reported.
                queue.appendleft((item, resends + 1))
            else:
                reason = _why_failed(error, mark, run.item_timeout) if error else future.result()
                if reason is not None:
                    failed[results.keys[item.id]] = reason
                advance()
            future.release()
            submit()
    return failed


def _why_failed(error: BaseException, mark: Path, timeout: float) -> str:
    """Return the reason for people; raise what is wrong for every item alike."""
    from distributed import KilledWorker

    if isinstance(error, InputError):
        raise error
    return why_killed(mark, timeout) if isinstance(error, KilledWorker) else f"{type(error).__name__}: {error}"
