"""ffmpeg as a child process that is bounded in memory and does not outlive this one."""

from __future__ import annotations

import functools
import resource
import shutil
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
    command = [*_tie(), *command]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr) as process:
        try:
            if hasattr(resource, "prlimit"):  # Linux
                with suppress(OSError, ValueError):  # it has ended, or is bounded more closely
                    resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
            yield process
        finally:
            process.kill()


@functools.cache
def _tie() -> tuple[str, ...]:
    """Return what to put before a command that the kernel is to end with this process, however that ends."""
    # A function to run between fork and exec would do the same, but copies the page tables: 10 ms a gigabyte.
    if tool := shutil.which("setpriv"):  # of util-linux
        command = (tool, "--pdeathsig", "KILL", "--")
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return ()  # elsewhere it ends with its next write into the broken pipe


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
