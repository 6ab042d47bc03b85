"""Faults against the trainer: damaged maps and finished runs, killed commands and workers, two commands at once."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.outcome import Trial, judge
from tests.faults.project import Project, damage, finish, kill_some

FINETUNE = ("trainer", "finetune", "--shards", "toy_shards", "--parent", "none", "--workers")
RIGHT: list[Any] = []


def prepare(reference: Project) -> None:
    """Fine-tune once, undisturbed, and keep the results as the truth."""
    status, output = reference.run(*FINETUNE, "1")
    assert status == 0, output
    RIGHT.append(reference.results())
    assert RIGHT[0] is not None


def trial(reference: Project, work: Path, draw: random.Random) -> Iterator[Trial]:
    """Yield the outcomes of one kind of fault, drawn at random, on a fresh copy of the project."""
    kinds: list[tuple[Callable[[Project, random.Random], Iterator[Trial]], int]] = [
        (_damaged_maps, 3), (_damaged_runs, 4), (_killed, 2), (_two_commands, 1),
    ]  # fmt: skip
    kind = draw.choices([one for one, _ in kinds], [weight for _, weight in kinds])[0]
    yield from kind(reference.copy(work), draw)


def _fresh(project: Project, *, cache: bool) -> None:
    for place in ("reports", "models", *([".cache/trainer"] if cache else [])):
        shutil.rmtree(project.folder / place, ignore_errors=True)


def _again(project: Project) -> Any:
    project.run(*FINETUNE, "1")
    return project.results()


def _damaged(project: Project, draw: random.Random, files: list[Path], kind: str) -> Iterator[Trial]:
    notes = [damage(path, draw) for path in draw.sample(files, min(len(files), draw.choice([2, 4, 6])))]
    _fresh(project, cache=False)
    status, output = project.run(*FINETUNE, "1")
    during, after = project.results(), _again(project)
    for note in notes:
        yield judge(kind, f"{note}: {output[-300:]}", right=RIGHT[0], during=during, status=status, after=after)


def _damaged_maps(project: Project, draw: random.Random) -> Iterator[Trial]:
    cache = project.folder / ".cache/trainer"
    shutil.rmtree(cache / "units")  # else nothing reads the maps
    yield from _damaged(project, draw, sorted(p for p in cache.rglob("*") if p.is_file()), "damaged memory map")


def _damaged_runs(project: Project, draw: random.Random) -> Iterator[Trial]:
    files = sorted(path for path in (project.folder / ".cache/trainer/units").rglob("*") if path.is_file())
    yield from _damaged(project, draw, files, "damaged finished run")


def _killed(project: Project, draw: random.Random) -> Iterator[Trial]:
    whom = draw.choice(["driver", "worker"])
    _fresh(project, cache=True)
    process = project.start(*FINETUNE, "2")
    killed = kill_some(process, whom=whom, draw=draw, latest=12)
    status, output = (137, "killed") if killed and whom == "driver" else finish(process)
    yield judge(f"killed {'command' if whom == 'driver' else 'pool worker'}", output[-300:], right=RIGHT[0],
                during=project.results(), status=status, after=_again(project))  # fmt: skip


def _two_commands(project: Project, draw: random.Random) -> Iterator[Trial]:
    _fresh(project, cache=True)
    processes = [project.start(*FINETUNE, "1") for _ in range(2)]
    ends = [finish(process) for process in processes]
    status = 0 if any(status == 0 for status, _ in ends) else max(status for status, _ in ends)
    note = str([(status, output[-200:]) for status, output in ends])
    yield judge("two commands at once", note, right=RIGHT[0], during=project.results(), status=status,
                after=_again(project))  # fmt: skip
