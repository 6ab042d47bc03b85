"""Many independent trainings in worker processes, which end with the run that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from trainer.errors import InputError

Shared = TypeVar("Shared")
Job = TypeVar("Job")


def train_missing(
    jobs: Mapping[str, Job],
    is_done: Callable[[str], bool],
    work: Callable[[Shared, Job], None],
    shared: Shared,
    *,
    workers: int,
    on_start: Callable[[int, int], None] | None = None,
    on_done: Callable[[Job], None] | None = None,
) -> None:
    """Do the ``jobs`` (by key of their content) whose key is not done yet; see `in_processes`.

    ``on_start(jobs, already done)`` and ``on_done(job)`` report progress; ``workers`` (processes) change no number.
    """
    missing = [job for key, job in jobs.items() if not is_done(key)]
    if on_start is not None:
        on_start(len(jobs), len(jobs) - len(missing))
    with closing(in_processes(work, shared, missing, workers=workers)) as done:
        for job in done:
            if on_done is not None:
                on_done(job)


def in_processes(
    work: Callable[[Shared, Job], None], shared: Shared, jobs: Sequence[Job], *, workers: int
) -> Generator[Job]:
    """Call ``work(shared, job)`` for every job, one process each at a time; yields the jobs as they finish.

    ``shared`` travels once a process. With one worker or one job everything runs here. Raises InputError if a worker
    dies; what other jobs have stored by then stays.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            work(shared, job)
            yield job
        return
    # spawn: forking a process that already runs torch threads can hang
    spawn = multiprocessing.get_context("spawn")
    count = min(workers, len(jobs))
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_join_pool, initargs=(work, shared)) as pool:
        try:
            # Submitting starts workers, and meets one that has died already: as a broken pool, or, where the pool
            # closes its pipes while the next worker is being started, as a file that is none.
            # Ctrl-C is for this process alone, which then ends its workers: they are started with it blocked.
            resource_tracker.ensure_running()  # its start would unblock it
            unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                futures = {pool.submit(_work, job): job for job in jobs}
            except (OSError, ValueError) as error:
                raise BrokenProcessPool(str(error)) from error
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool:
            raise InputError(
                "a worker process died (out of memory?): run again with fewer --workers; finished runs are kept"
            ) from None
        except Exception:  # of one job: those that are running may end
            wait([future for future in futures if not future.cancel()])
            raise
        finally:
            # The pool is not left to end its workers: it asks them to leave through a queue whose lock a dead worker
            # may hold, and does not know of one that was starting while another died; either makes it wait forever.
            _kill(others)
            pool.shutdown(cancel_futures=True)


def _kill(others: set[Any]) -> None:
    """End the workers: all child processes but those that were there before."""
    for worker in set(multiprocessing.active_children()) - others:
        worker.kill()


_joined: tuple[Callable[[Any, Any], None], Any] | None = None


def _join_pool(work: Callable[[Any, Any], None], shared: Any) -> None:
    global _joined
    _joined = (work, shared)
    parent = multiprocessing.parent_process()

    def leave_with_parent() -> None:  # a killed command must not leave workers behind
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _work(job: Any) -> None:
    assert _joined is not None
    work, shared = _joined
    work(shared, job)
