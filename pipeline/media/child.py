"""ffmpeg as a child process that is bounded in memory and does not outlive this one."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from pipeline.errors import Quarantined, Transient

MEMORY = 2 << 30  # bytes of address space; to decode sound takes .6 GB of it, nearly all untouched
# How ffmpeg ends where a file makes it crash. Any other signal came from outside.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


@contextmanager
def output_of(command: list[str], *, stderr: IO[Any]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command whose output is read from ``stdout``; it is killed where the block or this process ends."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, process_group=_guarded_group()
    ) as process:
        try:
            if hasattr(resource, "prlimit"):  # Linux
                with suppress(OSError, ValueError):  # it has ended, or is bounded more closely
                    resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
            yield process
        finally:
            process.kill()


_guards: list[subprocess.Popen[bytes]] = []  # at most one; it ends with this process


def _guarded_group() -> int:
    """Return the process group that is killed when this process ends, however it ends.

    A shell waits in it for the end of a pipe whose other end this process alone holds. To start one shell for all
    commands costs less than a wrapper around each, such as setpriv's death signal (2 ms), and works outside Linux too.
    """
    if not _guards or _guards[0].poll() is not None:
        quiet = subprocess.DEVNULL
        wait = ["/bin/sh", "-c", "read _; kill -KILL 0"]
        _guards[:] = [subprocess.Popen(wait, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, process_group=0)]
    return _guards[0].pid


def check_ended_by_itself(code: int) -> None:
    """Raise for an exit status that tells nothing of the file.

    Raises:
        Transient: it could not be started, or something ended it from outside.
        Quarantined: it crashed.
    """
    if code in (126, 127):
        raise Transient("ffmpeg cannot be started")
    if code < 0 and -code not in _CRASHES:
        raise Transient(f"ffmpeg was ended from outside ({signal.Signals(-code).name}), perhaps for want of memory")
    if code < 0:
        raise Quarantined(f"its sound makes ffmpeg crash ({signal.Signals(-code).name})")
