"""Run an extractor over many items in Dask worker processes, once for every stage.

What it owes its users: finished items survive a kill (each is in the content-keyed cache the moment it is
done), an item that fails, hangs or takes its process down is quarantined with the reason while the rest goes
on, and the result depends neither on the number of workers nor on their order. What is a fault of the machine is
never stored as a fact about the data (docs/faults.md).
"""

from __future__ import annotations

import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BeforeValidator, Field

from pipeline.config import Config, absolute
from pipeline.engine.cache import Cache
from pipeline.engine.cluster import check_seen, connect
from pipeline.engine.content import Source
from pipeline.engine.identity import Keys, digest, identity
from pipeline.engine.marks import FileMarks, Marks, ObjectMarks
from pipeline.engine.progress import progress
from pipeline.engine.results import Results
from pipeline.engine.store import check_bucket
from pipeline.engine.worker import Failure, Task, run_item
from pipeline.engine.workers import SEEN_SECONDS, Needs, check_workers, made_by, some_media
from pipeline.errors import InputError

COPIES = Path(".cache/buckets")  # this machine's copies of the rows that an object storage has, a folder a URL
MAX_RESENDS = 10  # how often an item that had not begun is sent again after the worker it waited on died


def _place(value: Any) -> Any:
    """Keep the URL of an object storage as it is; anything else is a path."""
    if not isinstance(value, str):
        return value
    scheme, _, path = value.rpartition("://")
    return Path(path) if scheme in ("", "file") else value


class RunConfig(Config):
    """How work is run. Nothing here changes a number, so nothing here is part of a cache key."""

    workers: int = Field(0, ge=0, description="worker processes; 0: one a core")
    scheduler: str = Field("", description="address or file of a running Dask scheduler; empty: a local one")
    item_timeout: float = Field(600.0, gt=0, description="seconds one item may take before it is quarantined")
    max_failed_share: float = Field(0.5, ge=0, le=1, description="a stage that quarantines more than this fails")
    cache: Annotated[Path | str, BeforeValidator(_place)] = Field(
        Path(".cache/avser"), description="folder or s3:// URL of finished items, keyed by content; safe to delete"
    )

    @property
    def bucket(self) -> str:
        """URL of the object storage that has the finished items; empty: none has."""
        return self.cache if isinstance(self.cache, str) else ""

    @property
    def folder(self) -> Path:
        """Folder of finished items and locks on this machine; copies where an object storage has the items."""
        return COPIES / digest(self.cache)[:16] if isinstance(self.cache, str) else self.cache


@dataclass(frozen=True)
class Item:
    """One unit of work.

    Attributes:
        id: what people call it (clip or segment id); unique in the stage.
        inputs: JSON-able facts that determine the result (content hash, start, end, upstream key).
        load: returns the dict the extractor is called with; called late, so that few are in memory.
        source: the media file that the extractor opens, with the content that the key stands for.
    """

    id: str
    inputs: dict[str, Any]
    load: Callable[[], dict[str, Any]]
    source: Source | None = None


class Items(Collection[Item]):
    """An item a row, each made when it is asked for: a million at once would take gigabytes."""

    def __init__(self, rows: Collection[Any], make: Callable[[Any], Item]) -> None:
        self.rows, self.make = rows, make

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Item]:
        return map(self.make, self.rows)

    def __contains__(self, item: object) -> bool:
        return any(item == one for one in self)


@dataclass(frozen=True)
class _Try:
    """An item that waits to be sent: how often it was sent in vain, and how often its process was killed."""

    item: Item
    resends: int = 0
    kills: int = 0


def compute(
    stage: str,
    extractor: Any,
    items: Collection[Item],
    *,
    schema: pa.Schema,
    run: RunConfig,
    id_column: str = "segment_id",
) -> Results:
    """Compute every item that is not in the cache; return the rows of all.

    Args:
        stage: name shown to people and folder of the cache.
        extractor: instance with ``config``, ``modules``, ``packages`` and ``__call__`` (one item to one row).
        items: what to compute; ids are unique. Gone through up to twice, so that a million may be made one by one.
        schema: Arrow schema of a row; has ``id_column``, ``status`` and ``reason``.
        run: workers, scheduler, time limit, cache place.
        id_column: the column that carries the item's id.

    Raises:
        InputError: two items share an id, or a fault of the run as a whole came back from a worker.
    """
    key_of = Keys(identity(extractor))
    cache = Cache(run.folder, stage, schema, bucket=run.bucket)
    results = Results(cache, {item.id: key_of(item.inputs) for item in items}, id_column=id_column)
    if len(results.keys) != len(items):
        raise InputError(f"{stage}: two items share an id")
    missing = {key for key in results.keys.values() if not cache.exists(key)}
    if missing and cache.bucket:
        check_bucket(cache.bucket)
        cache.fetch(sorted(missing))
        missing = {key for key in missing if not cache.exists(key)}
    with progress(stage, len(items)) as ticker:
        ticker.skip(len(items) - len(missing))
        if missing:
            wanted = partial(_pending, items, results.keys, frozenset(missing))
            failed = _run(extractor, wanted, len(missing), results, run, ticker.advance)
            results.failed = {i: failed[key] for i, key in results.keys.items() if key in failed}
    return results


def _pending(items: Iterable[Item], keys: Mapping[str, str], missing: Iterable[str]) -> Iterator[Item]:
    """Yield an item for each missing key: equal content under several ids is computed once."""
    left = set(missing)
    for item in items:
        if keys[item.id] in left:
            left.discard(keys[item.id])
            yield item


def _run(
    extractor: Any,
    wanted: Callable[[], Iterator[Item]],
    count: int,
    results: Results,
    run: RunConfig,
    advance: Callable[[], None],
) -> dict[str, Failure]:
    """Send items to the workers, a few more than there are workers at a time; return key -> why of failures."""
    from distributed import as_completed
    from distributed.comm import CommClosedError

    failed: dict[str, Failure] = {}
    # Marks of this run alone: those that a killed run left blame nobody.
    cache, folder = results.cache, f"attempts/{uuid.uuid4().hex}"
    marks = ObjectMarks(cache.bucket, folder) if cache.bucket else FileMarks(cache.copies.path(folder))
    config = absolute(extractor.config)  # a worker of a remote cluster was started in a folder of its own
    needs = None
    if run.scheduler:
        media = some_media(item.source.path for item in wanted() if item.source)
        needs = Needs(type(extractor), config, made_by(extractor, config), cache.store, folder, media)
    timeout = run.item_timeout
    work = partial(run_item, type(extractor), config, rows=cache, marks=marks, timeout=timeout, needs=needs)
    pending = wanted()
    again: deque[_Try] = deque()  # sent in vain: to be sent next
    suspects: deque[_Try] = deque()  # their process was killed: each is tried once more with nothing beside it
    workers = min(run.workers or os.cpu_count() or 1, count)
    try:
        with connect(run.scheduler, workers=workers) as client:
            if needs:
                check_workers(client, needs)
            done = as_completed()
            running: dict[str, _Try] = {}
            ended: dict[str, float] = {}  # when each was reported as done, in s

            def submit() -> None:
                one = again.popleft() if again else next((_Try(item) for item in pending), None)
                if one is None and suspects and not running:
                    one = suspects.popleft()
                if one is None:
                    return
                ids = {results.id_column: one.item.id}
                task = Task(one.item.load(), results.keys[one.item.id], ids, one.item.source)
                future = client.submit(work, task, pure=False)
                running[future.key] = one
                future.add_done_callback(lambda done: ended.setdefault(done.key, time.monotonic()))
                done.add(future)

            for _ in range(2 * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))):
                submit()
            for future in done:
                one = running.pop(future.key)
                key = results.keys[one.item.id]
                since = time.monotonic() - ended.pop(future.key, time.monotonic())
                found = _outcome(future, one, marks, key, run, since=since)
                if isinstance(found, _Try):
                    (suspects if found.kills else again).appendleft(found)
                else:
                    if found is not None:
                        failed[key] = found
                    else:
                        _take(cache, key, run)
                    advance()
                future.release()
                submit()
    except CommClosedError as error:
        raise _gone(run) from error
    finally:
        marks.clear()  # with what the workers were asked by
    return failed


def _take(cache: Cache, key: str, run: RunConfig) -> None:
    """Make sure that the row which a worker has written is on this machine."""
    if cache.bucket:
        cache.fetch([key])
        if not cache.has(key):
            raise InputError(
                f"{cache.bucket}: the row {key} that a worker has written is not there; run the stage again"
            )
    elif run.scheduler:
        check_seen(cache.path(key), seconds=SEEN_SECONDS)


def _gone(run: RunConfig) -> InputError:
    where = f"the scheduler at {run.scheduler}" if run.scheduler else "the local cluster"
    return InputError(f"{where} is gone, or has no worker left; what is finished is kept: run the stage again")


def _outcome(future: Any, one: _Try, marks: Marks, key: str, run: RunConfig, *, since: float) -> _Try | Failure | None:
    """Return how an item ended: to be sent again, failed, or None where its row is in the cache.

    Raises:
        InputError: what is wrong for every item alike.
    """
    from distributed import KilledWorker

    error = answer = None
    try:
        if not future.cancelled():
            error = future.exception()
            answer = None if error else future.result()
    except Exception as lost:  # the worker died with the answer, before it was fetched
        error = lost
    if future.cancelled() or type(error).__name__ in ("NoValidWorkerError", "FutureCancelledError", "CommClosedError"):
        raise _gone(run)
    if isinstance(error, InputError):
        raise error
    if not isinstance(error, KilledWorker):
        return Failure(f"{type(error).__name__}: {error}", passing=False) if error else answer
    if marks.took_too_long(key, timeout=run.item_timeout, since=since):
        return Failure(
            f"took longer than {run.item_timeout:g} s; raise run.item_timeout if the file is sound", passing=True
        )
    if not marks.began(key) and one.resends < MAX_RESENDS:
        # It only waited on the worker that another item took down, or was done but not yet reported.
        return replace(one, resends=one.resends + 1)
    marks.forget(key)
    if not one.kills:
        return replace(one, kills=1)
    return Failure(
        "killed twice: its worker process died, the second time with no other item beside it (a crash in native code, "
        "or out of memory)",
        passing=True,
    )
