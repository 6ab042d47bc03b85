"""Many independent trainings in worker processes, which end with the run that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from graphlib import TopologicalSorter
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
    needs: Mapping[str, Collection[str]] | None = None,
    on_start: Callable[[int, int], None] | None = None,
    on_done: Callable[[Job], None] | None = None,
) -> None:
    """Do the ``jobs`` (by key of their content) whose key is not done yet; see `in_processes`.

    ``on_start(jobs, already done)`` and ``on_done(job)`` report progress; ``workers`` (processes) change no number.
    """
    missing = {key: job for key, job in jobs.items() if not is_done(key)}
    if on_start is not None:
        on_start(len(jobs), len(jobs) - len(missing))
    with closing(in_processes(work, shared, missing, workers=workers, needs=needs)) as done:
        for key in done:
            if on_done is not None:
                on_done(missing[key])


def in_processes(
    work: Callable[[Shared, Job], None],
    shared: Shared,
    jobs: Mapping[str, Job],
    *,
    workers: int,
    needs: Mapping[str, Collection[str]] | None = None,
) -> Generator[str]:
    """Call ``work(shared, job)`` for every job, one process each at a time; yields the keys of jobs as they finish.

    ``shared`` travels once a process. With one worker or one job everything runs here.

    Args:
        work: what is done.
        shared: its first argument.
        jobs: its second argument, by key.
        workers: processes.
        needs: keys of the jobs that come before a job, by its key; what is not among ``jobs`` is done already.

    Raises:
        InputError: a worker dies; what other jobs have stored by then stays.
    """
    order = TopologicalSorter({key: [one for one in (needs or {}).get(key, ()) if one in jobs] for key in jobs})
    order.prepare()
    if workers <= 1 or len(jobs) <= 1:
        while order.is_active():
            for key in order.get_ready():
                work(shared, jobs[key])
                order.done(key)
                yield key
        return
    # spawn: forking a process that already runs torch threads can hang
    spawn = multiprocessing.get_context("spawn")
    count = min(workers, len(jobs))
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_join_pool, initargs=(work, shared)) as pool:
        futures: dict[Future[None], str] = {}
        try:
            while order.is_active():
                ready = order.get_ready()
                futures |= dict(zip(_submit(pool, [jobs[key] for key in ready]), ready, strict=True))
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    key = futures.pop(future)
                    future.result()
                    order.done(key)
                    yield key
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


def _submit(pool: ProcessPoolExecutor, jobs: Sequence[Any]) -> list[Future[None]]:
    """Give jobs to the pool, which starts workers and meets one that has died already.

    It meets it as a broken pool, or, where the pool closes its pipes while the next worker is being started, as a file
    that is none.
    """
    # Ctrl-C is for this process alone, which then ends its workers: they are started with it blocked.
    resource_tracker.ensure_running()  # its start would unblock it
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return [pool.submit(_work, job) for job in jobs]
    except (OSError, ValueError) as error:
        raise BrokenProcessPool(str(error)) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


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
