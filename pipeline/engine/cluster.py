"""Dask worker processes: how many, with which environment and limits, and reachable for nobody else.

A Dask scheduler runs whatever code a client sends, so the local one speaks TLS with a certificate made for the run,
whose key never leaves its processes. How to close a remote one is in docs/dask.md.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipeline.engine.storage import check_temporary
from pipeline.errors import InputError

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
SETTINGS = {
    # A dead worker's tasks come back at once; the attempt marks tell which of them was running.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.no-workers-timeout": "120s",
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.admin.tick.limit": "60s",
}
ANSWER_SECONDS = 60  # how long a remote scheduler, and its first worker, may take to answer


@contextmanager
def connect(scheduler: str, *, workers: int) -> Iterator[Any]:
    """Yield a client of the scheduler at this address, or, without one, of a local cluster of worker processes.

    Raises:
        InputError: the scheduler does not answer or has no worker, or the local processes do not start.
    """
    if scheduler:
        with _quiet(), _remote(scheduler) as client:
            yield client
    elif _kept is not None:
        yield _kept.client(workers)
    else:
        with _workers(workers) as client:
            yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Set Dask up; errors come as exceptions, and end in a sentence, where it would log each with its traceback too."""
    import dask
    from distributed.utils import silence_logging_cmgr

    with dask.config.set(SETTINGS), silence_logging_cmgr(logging.CRITICAL):
        yield


@contextmanager
def kept_workers() -> Iterator[None]:
    """Within it the local workers that `connect` starts stay for its next call, since to start them takes seconds."""
    global _kept
    with ExitStack() as stack:
        _kept = _Kept(stack)
        try:
            yield
        finally:
            _kept = None


class _Kept:
    """Local workers that stay."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.count = 0
        self.found: Any = None

    def client(self, workers: int) -> Any:
        """Return a client of at least so many workers."""
        if self.count < workers:
            self.stack.close()
            self.found, self.count = self.stack.enter_context(_workers(workers)), workers
        return self.found


_kept: _Kept | None = None


@contextmanager
def _workers(count: int) -> Iterator[Any]:
    """Yield a client of so many local worker processes."""
    import dask
    from distributed import Client

    # A folder that nobody else can enter, since workers trust what they find in it.
    with (
        _quiet(),
        _scratch() as scratch,
        dask.config.set({"temporary-directory": scratch}),
        _local(count) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _scratch() -> tempfile.TemporaryDirectory[str]:
    check_temporary()
    return tempfile.TemporaryDirectory(prefix="avser-workers-", ignore_cleanup_errors=True)


def _remote(scheduler: str) -> Any:
    from distributed import Client

    address = _address(scheduler)
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        if "ssl_context" in str(error):
            raise InputError(
                f"run.scheduler: {address} speaks TLS, and no certificate is named here: export DASK_CONFIG, the "
                "folder of the file that names it, in this shell too (docs/dask.md)"
            ) from error
        raise InputError(
            f"run.scheduler: no Dask scheduler answers at {address} ({_first_line(error)}); start it (`dask "
            "scheduler`), correct the address, or leave it empty to work on this machine"
        ) from error
    try:
        client.wait_for_workers(1, timeout=ANSWER_SECONDS)
    except TimeoutError as error:
        client.close()
        raise InputError(f"run.scheduler: {address} has no worker; start one (`dask worker {address}`)") from error
    return client


def _address(scheduler: str) -> str:
    """Return the address of a scheduler; ``scheduler`` may name the file that it has written its address to."""
    if not scheduler.endswith(".json"):
        return scheduler
    try:
        return str(json.loads(Path(scheduler).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"run.scheduler: {scheduler} is no scheduler file ({_first_line(error)}); start `dask scheduler "
            f"--scheduler-file {scheduler}` and wait until it is there, or give an address"
        ) from error


def _local(workers: int, *, again: bool = True) -> Any:
    """Return a started cluster on this machine; a start that fails is tried once more."""
    from distributed import Nanny, SpecCluster
    from distributed.security import Security
    from distributed.worker_memory import parse_memory_limit

    from pipeline.engine.nodes import QuietScheduler, QuietWorker

    common = {"host": "127.0.0.1", "protocol": "tls://", "security": Security.temporary()}
    options = {
        **common,
        "worker_class": QuietWorker,
        "nthreads": 1,
        "memory_limit": parse_memory_limit("auto", 1, workers, logger=logging.getLogger(__name__)),
        "silence_logs": logging.CRITICAL,
    }
    try:
        return SpecCluster(
            scheduler={"cls": QuietScheduler, "options": {**common, "port": 0, "dashboard": False}},
            workers={number: {"cls": Nanny, "options": options} for number in range(workers)},
            security=common["security"],
            silence_logs=logging.CRITICAL,
        )
    except Exception as error:  # a worker process that was killed while it started ends in one of many
        check_temporary(error if isinstance(error, OSError) else None)
        if again:
            return _local(workers, again=False)
        raise InputError(
            f"the worker processes did not start ({_first_line(error)}): out of memory? Lower run.workers and run again"
        ) from error


def check_seen(path: Path, *, seconds: float) -> None:
    """Make sure that a file which a remote worker has written is seen here.

    Raises:
        InputError: it is not, ``seconds`` later.
    """
    end = time.monotonic() + seconds
    while not path.is_file():
        if time.monotonic() > end:
            raise InputError(
                f"run.cache: a worker has written {path}, which is not seen here; the cache must lie in a folder that "
                "all machines of the cluster share, under the same path"
            )
        time.sleep(0.1)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
