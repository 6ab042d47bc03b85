"""Run an extractor over many items in Dask worker processes, once for every stage.

What it owes its users: finished items survive a kill (each is in the content-keyed cache the moment it is
done), an item that fails, hangs or takes its process down is quarantined with the reason while the rest goes
on, and the result depends neither on the number of workers nor on their order.
"""

from __future__ import annotations

import faulthandler
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from pipeline.config import Config
from pipeline.contracts import OK, QUARANTINED
from pipeline.engine.cache import Cache
from pipeline.engine.identity import digest, identity
from pipeline.engine.progress import progress
from pipeline.engine.tables import row_table, write_parts
from pipeline.errors import InputError, Quarantined

# How often an item that had not begun is sent again after the worker it waited on died.
MAX_DEATHS_BESIDE = 10

# One thread a worker process for every library that would otherwise start a pool of its own, and quiet logs.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "GLOG_minloglevel": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


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

    Args:
        id: what people call it (clip or segment id); unique in the stage.
        inputs: JSON-able facts that determine the result (content hash, start, end, upstream key).
        load: returns the dict the extractor is called with; called late, so that few are in memory.

    """

    id: str
    inputs: dict[str, Any]
    load: Callable[[], dict[str, Any]]


@dataclass
class Results:
    """Rows of a stage: on disk in the cache, except those that failed in a way worth trying again."""

    cache: Cache
    keys: dict[str, str]
    failed: dict[str, str] = field(default_factory=dict)
    id_column: str = "segment_id"

    def row(self, item_id: str) -> pa.Table:
        """Return the one-row table of an item."""
        if item_id in self.failed:
            row = {self.id_column: item_id, "status": QUARANTINED, "reason": self.failed[item_id]}
            return row_table(row, self.cache.schema)
        table = self.cache.read(self.keys[item_id])
        if table is None:
            raise InputError(f"the cache under {self.cache.root} changed during the run; start the stage again")
        # The key is of the content, so equal content under two names shares a row: name it here.
        index = table.schema.get_field_index(self.id_column)
        return table.set_column(index, table.schema.field(index), pa.array([item_id], pa.string()))

    def quarantined(self) -> dict[str, str]:
        """Return item id -> reason of all rows that are not usable."""
        found = dict(self.failed)
        for item_id in self.keys.keys() - self.failed.keys():
            row = self.cache.read(self.keys[item_id], ["status", "reason"])
            if row is not None and row["status"][0].as_py() != OK:
                found[item_id] = row["reason"][0].as_py()
        return found

    def write(self, folder: Path, *, metadata: dict[str, Any]) -> None:
        """Pack the rows into a table folder of Parquet parts."""
        rows = [(item_id, partial(self.row, item_id), self.cache.size(key)) for item_id, key in self.keys.items()]
        write_parts(folder, rows, schema=self.cache.schema, metadata=metadata)


_extractors: dict[str, Any] = {}


def _extractor(cls: type, config: Config) -> Any:
    # One instance a process: loading a face model or openSMILE for every item would cost more than the item.
    key = f"{cls.__module__}.{cls.__qualname__}:{config.model_dump_json()}"
    if key not in _extractors:
        _extractors[key] = cls(config)
    return _extractors[key]


def _work(
    cls: type,
    config: Config,
    payload: dict[str, Any],
    cache: Cache,
    key: str,
    id_column: str,
    item_id: str,
    timeout: float,
) -> str | None:
    """Compute one item inside a worker and store it; return a reason if it should be tried again next time."""
    mark = cache.attempt(key)
    mark.parent.mkdir(parents=True, exist_ok=True)
    # A C-level watchdog: it ends the process even when native code holds the interpreter lock for ever, and says
    # so in the mark, which tells a hang from a crash afterwards.
    with mark.open("w") as sink:
        faulthandler.dump_traceback_later(timeout, exit=True, file=sink)
        try:
            row = {**_extractor(cls, config)(payload), "status": OK}
        except InputError:
            raise  # wrong for every item alike: the driver stops the run
        except Quarantined as reason:
            row = {"status": QUARANTINED, "reason": str(reason)}
        except Exception as error:  # one bad file of any kind must not stop the run
            return f"{type(error).__name__}: {error}"
        finally:
            faulthandler.cancel_dump_traceback_later()
            mark.unlink(missing_ok=True)
    cache.write(key, {**row, id_column: item_id})
    return None


@contextmanager
def _client(run: RunConfig, n_items: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    settings = {
        # A dead worker's tasks come back at once; the attempt marks tell which of them was running.
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.comm.timeouts.connect": "60s",
        "distributed.admin.tick.limit": "60s",
    }
    with dask.config.set(settings):
        if run.scheduler:
            with Client(run.scheduler) as client:
                yield client
            return
        workers = min(run.workers or os.cpu_count() or 1, max(1, n_items))
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


def compute(
    stage: str,
    extractor: Any,
    items: list[Item],
    *,
    schema: pa.Schema,
    run: RunConfig,
    id_column: str = "segment_id",
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
    what = identity(extractor)
    cache = Cache(run.cache, stage, schema)
    results = Results(cache, {item.id: digest([what, item.inputs]) for item in items}, id_column=id_column)
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
    cls, config, cache = type(extractor), extractor.config, results.cache
    queue = deque((item, 0) for item in pending)

    with _client(run, len(pending)) as client:
        at_once = 2 * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        done = as_completed()
        running: dict[str, tuple[Item, int]] = {}

        def submit() -> None:
            if not queue:
                return
            item, deaths = queue.popleft()
            key = results.keys[item.id]
            arguments = (cls, config, item.load(), cache, key, results.id_column, item.id, run.item_timeout)
            future = client.submit(_work, *arguments, pure=False)
            running[future.key] = item, deaths
            done.add(future)

        for _ in range(at_once):
            submit()
        for future in done:
            item, deaths = running.pop(future.key)
            key = results.keys[item.id]
            error = future.exception()
            if error is None:
                reason = future.result()
            elif isinstance(error, InputError):
                raise error
            elif isinstance(error, KilledWorker):
                mark = cache.attempt(key)
                if not mark.exists() and deaths < MAX_DEATHS_BESIDE:
                    # It only waited on the worker that another item took down, or was done but not yet reported.
                    queue.appendleft((item, deaths + 1))
                    future.release()
                    submit()
                    continue
                reason = _why_killed(mark, run.item_timeout)
            else:
                reason = f"{type(error).__name__}: {error}"
            if reason is not None:
                failed[key] = reason
            future.release()
            advance()
            submit()
    return failed


def _why_killed(mark: Path, timeout: float) -> str:
    said = mark.read_text(errors="replace") if mark.exists() else ""
    mark.unlink(missing_ok=True)
    if said.startswith("Timeout"):
        return f"took longer than {timeout:g} s; raise run.item_timeout if the file is sound"
    return "its worker process died (a crash in native code, or out of memory)"


def check_failures(stage: str, results: Results, run: RunConfig) -> dict[str, str]:
    """Print what was quarantined and fail the stage if it is too much; the rest is safe in the cache.

    Raises:
        InputError: the share of quarantined items is above ``run.max_failed_share``.

    """
    bad = results.quarantined()
    total = len(results.keys)
    print(f"{stage}: {total - len(bad)} of {total} ok, {len(bad)} quarantined", flush=True)
    for item_id, reason in sorted(bad.items())[:10]:
        print(f"  {item_id}: {reason}")
    if len(bad) > 10:
        print(f"  ... and {len(bad) - 10} more; the table has them all")
    if total and len(bad) / total > run.max_failed_share:
        raise InputError(
            f"{stage}: {len(bad)} of {total} items were quarantined, more than run.max_failed_share = "
            f"{run.max_failed_share:g}; the reasons are above and in the table"
        )
    return bad
