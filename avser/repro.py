"""``dvc repro`` with the time that is left: how long each stage took the last time is remembered."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from avser.quick import stage_commands
from pipeline.engine.files import replace_file
from pipeline.errors import InputError

TIMES = Path(".cache/stage_seconds.json")  # safe to delete
_RUNS = re.compile(r"Running stage '([^']+)'")
_SKIPS = re.compile(r"Stage '([^']+)' (?:didn't change|is cached)")


def repro(arguments: Sequence[str] = (), *, table: bool = False) -> int:
    """Run ``dvc repro`` with these arguments and return its exit status.

    Before each stage a line says which of how many it is, and, where all that is left ran before, how long that took.
    ``table``: end with the table of results, as stage ``report`` has printed it, or anew where it did not run.

    Raises:
        InputError: there is no ``dvc.yaml`` here, or DVC is not installed.
    """
    flow = Path("dvc.yaml")
    if not flow.is_file():
        raise InputError("there is no dvc.yaml here: run from the project's root")
    remove_broken_lock(Path(".dvc/tmp/rwlock"))
    order = [name for name, _ in stage_commands(yaml.safe_load(flow.read_text(encoding="utf-8"))["stages"])]
    seconds = read_times(TIMES)
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    shown: list[str] = []
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        ) as process:
            assert process.stdout is not None
            said = follow(process.stdout, order, seconds)
            for line in keep_output(said, "report", shown) if table else said:
                print(line, end="", flush=True)
            process.wait()
    finally:  # Ctrl-C too: the stages that are done took their time
        TIMES.parent.mkdir(parents=True, exist_ok=True)
        replace_file(TIMES, lambda place: place.write_text(json.dumps(seconds, indent=1) + "\n", encoding="utf-8"))
    if table and not process.returncode:
        if not shown:
            return subprocess.run([sys.executable, "-m", "trainer", "report", "--show"]).returncode
        print("".join(shown), end="")
    return process.returncode


def remove_broken_lock(path: Path, *, wait: float = 1.0) -> None:
    """Remove DVC's list of locks where a killed run left half of it, since DVC would refuse to run.

    A run that writes it right now is done ``wait`` s later.
    """
    for seconds in (wait, 0.0):
        try:
            json.loads(path.read_text(encoding="utf-8"))
            return
        except FileNotFoundError:
            return
        except (ValueError, RecursionError):
            time.sleep(seconds)
    path.unlink(missing_ok=True)
    print(f"note: {path} was damaged by a run that was killed, and has been removed", file=sys.stderr)


def keep_output(lines: Iterable[str], stage: str, kept: list[str]) -> Iterator[str]:
    r"""Yield all lines, and keep what the command of one stage printed.

    >>> lines, kept = ["Running stage 'a':\n", "> make a\n", "a table\n", "Updating lock file\n"], []
    >>> len(list(keep_output(lines, "a", kept)))
    4
    >>> kept
    ['a table\n']
    """
    running = False
    for line in lines:
        if starts := _RUNS.search(line):
            running = starts[1] == stage
        elif line.startswith("Updating lock file"):
            running = False
        elif running and not line.startswith("> "):
            kept.append(line)
        yield line


def read_times(path: Path) -> dict[str, float]:
    """Return stage -> seconds of its last run; nothing where the file is not there or is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def follow(
    lines: Iterable[str], order: Sequence[str], seconds: dict[str, float], *, clock: object = time.monotonic
) -> Iterator[str]:
    """Yield the lines of ``dvc repro`` with one more before each stage; write what stages took into ``seconds``."""
    now = clock if callable(clock) else time.monotonic
    done: set[str] = set()
    current, since = "", now()
    for line in lines:
        starts, skipped = _RUNS.search(line), _SKIPS.search(line)
        if (starts or skipped) and current:
            seconds[current] = round(now() - since, 1)
            done.add(current)
            current = ""
        if skipped:
            done.add(skipped[1])
        if starts:
            current, since = starts[1], now()
            yield _announcement(current, order, done, seconds)
        yield line
    if current:  # the last one; one that failed did not take its whole time
        seconds.setdefault(current, round(now() - since, 1))


def _announcement(stage: str, order: Sequence[str], done: set[str], seconds: dict[str, float]) -> str:
    if stage not in order:
        return ""
    rest = [name for name in order if name not in done]
    known = [seconds[name] for name in rest if name in seconds]
    left = f"; about {_minutes(sum(known))} left, by the last run" if len(known) == len(rest) else ""
    return f"== stage {order.index(stage) + 1} of {len(order)}: {stage}{left}\n"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
