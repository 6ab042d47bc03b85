"""Faults against the stages: killed processes, damaged files, full disks, vanishing clips, two runs at once."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.faults.outcome import Trial, judge
from tests.faults.project import Project, damage, finish, kill_some

STAGES = ("segments", "audio", "acoustics")
RIGHT: dict[str, Any] = {}  # table of every stage, undisturbed


def prepare(reference: Project) -> None:
    """Run the stages once, undisturbed, and keep their tables as the truth."""
    for stage in STAGES:
        status, output = reference.run("pipeline", stage, "labelled")
        assert status == 0, output
        RIGHT[stage] = reference.table(stage)
        assert all(row["status"] == "ok" for row in RIGHT[stage].values()), output


def trial(reference: Project, work: Path, draw: random.Random) -> Iterator[Trial]:
    """Yield the outcomes of one kind of fault, drawn at random, on a fresh copy of the project."""
    kinds: list[tuple[Callable[[Project, random.Random], Iterator[Trial]], int]] = [
        (_killed_driver, 2), (_killed_worker, 2), (_damaged_cache, 4), (_damaged_table, 3), (_changed_clips, 4),
        (_two_runs, 2), (_full_disk, 1),
    ]  # fmt: skip
    kind = draw.choices([one for one, _ in kinds], [weight for _, weight in kinds])[0]
    yield from kind(reference.copy(work), draw)


def _fresh(project: Project, stage: str) -> None:
    """Forget what a stage has computed."""
    for place in (f"data/{stage}", f".cache/avser/{stage}"):
        shutil.rmtree(project.folder / place, ignore_errors=True)


def _again(project: Project, stage: str) -> Any:
    project.run("pipeline", stage, "labelled")
    return project.table(stage)


def _killed_driver(project: Project, draw: random.Random) -> Iterator[Trial]:
    stage = draw.choice(STAGES)
    _fresh(project, stage)
    process = project.start("pipeline", stage, "labelled")
    if kill_some(process, whom="driver", draw=draw, latest=4):
        status, output = 137, "killed"
    else:
        status, output = finish(process)
    during = project.table(stage)
    yield judge("killed driver", f"{stage}: {output[-300:]}", right=RIGHT[stage], during=during, status=status,
                after=_again(project, stage))  # fmt: skip


def _killed_worker(project: Project, draw: random.Random) -> Iterator[Trial]:
    stage = draw.choice(STAGES)
    _fresh(project, stage)
    process = project.start("pipeline", stage, "labelled")
    for _ in range(draw.choice([1, 1, 2])):
        kill_some(process, whom="worker", draw=draw, latest=4)
    status, output = finish(process)
    during = project.table(stage)
    yield judge("killed worker", f"{stage}: {output[-300:]}", right=RIGHT[stage], during=during, status=status,
                after=_again(project, stage))  # fmt: skip


def _damaged_cache(project: Project, draw: random.Random) -> Iterator[Trial]:
    stage = draw.choice(STAGES)
    shutil.rmtree(project.folder / "data" / stage)
    files = sorted(path for path in (project.folder / ".cache/avser" / stage).rglob("*") if path.is_file())
    notes = [damage(path, draw) for path in draw.sample(files, min(len(files), 12))]
    status, output = project.run("pipeline", stage, "labelled")
    during, after = project.table(stage), _again(project, stage)
    for note in notes:
        yield judge("damaged cache", f"{stage}, {note}: {output[-200:]}", right=RIGHT[stage], during=during,
                    status=status, after=after)  # fmt: skip


def _damaged_table(project: Project, draw: random.Random) -> Iterator[Trial]:
    stage, following = draw.choice([("segments", "audio"), ("audio", "acoustics")])
    parts = sorted((project.folder / "data" / stage / "labelled").glob("*.parquet"))
    notes = [damage(path, draw) for path in draw.sample(parts, draw.choice([1, 2, 3]))]
    _fresh(project, following)
    status, output = project.run("pipeline", following, "labelled")
    during = project.table(following)
    status = status or int("Traceback" in output)
    _again(project, stage)
    after = _again(project, following)
    for note in notes:
        yield judge("damaged table", f"{stage}, {note}: {output[-300:]}", right=RIGHT[following], during=during,
                    status=status, after=after)  # fmt: skip


def _changed_clips(project: Project, draw: random.Random) -> Iterator[Trial]:
    """Clips vanish, are forbidden or hold other content while one stage runs, and are back for the next run."""
    stage = draw.choice(["audio", "segments"])
    _fresh(project, stage)
    media = sorted((project.folder / "media").glob("*.wav"))
    kept = {path: path.read_bytes() for path in draw.sample(media, 5)}
    other = next(path for path in media if path not in kept).read_bytes()
    how = {path: draw.choice(["vanished", "changed", "cut"]) for path in kept}
    for path, done in how.items():
        if done == "vanished":
            path.unlink()
        else:
            path.write_bytes(other if done == "changed" else kept[path][: len(kept[path]) // 3])
    status, output = project.run("pipeline", stage, "labelled")
    for path, content in kept.items():
        path.write_bytes(content)
    # What the stage says of the changed clips is true of them then; no other row may change, nor this one for good.
    ids = {f"c{path.stem}" for path in kept}
    touched = {name for name in RIGHT[stage] if name.split("#")[0] in ids}
    during = project.table(stage) or {}
    others = {name: row for name, row in during.items() if name.split("#")[0] not in ids}
    right = {name: row for name, row in RIGHT[stage].items() if name not in touched}
    wrong = stage == "audio" and any(during[name]["status"] == "ok" and during[name] != RIGHT[stage][name]
                                     for name in touched if name in during)  # fmt: skip
    _again(project, "segments")
    after = _again(project, stage)
    for path, done in how.items():
        note = f"{stage}, {path.name} {done}: {output[-300:]}"
        if wrong:
            yield Trial("changed clips", "false", f"{note}; another clip's sound is served")
        elif during and others != right:
            yield Trial("changed clips", "false", f"{note}; rows of other clips differ")
        else:
            yield judge("changed clips", note, right=RIGHT[stage], during=None, status=status or 1, after=after)


def _two_runs(project: Project, draw: random.Random) -> Iterator[Trial]:
    stage = draw.choice(STAGES)
    _fresh(project, stage)
    processes = [project.start("pipeline", stage, "labelled") for _ in range(2)]
    ends = [finish(process) for process in processes]
    during = project.table(stage)
    status = 0 if any(status == 0 for status, _ in ends) else max(status for status, _ in ends)
    note = f"{stage}: {[(status, output[-150:]) for status, output in ends]}"
    yield judge("two runs at once", note, right=RIGHT[stage], during=during, status=status,
                after=_again(project, stage))  # fmt: skip


def _full_disk(project: Project, draw: random.Random) -> Iterator[Trial]:
    """The cache lies on a disk that fills up; where this machine allows no mount there is no such trial."""
    stage = draw.choice(["audio", "acoustics"])
    _fresh(project, stage)
    place = project.folder / ".cache/avser" / stage
    place.mkdir(parents=True)
    size = draw.randrange(8, 200, 4)
    script = (
        f"mount -t tmpfs -o size={size}k tmpfs '{place}' || exit 77; "
        f"'{sys.executable}' -m pipeline {stage} labelled; status=$?; umount '{place}'; exit $status"
    )
    command = ["unshare", "-m", "sh", "-c", script]
    try:
        done = subprocess.run(command, cwd=project.folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                              capture_output=True, text=True, timeout=120)  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        if isinstance(error, subprocess.TimeoutExpired):
            yield Trial("full disk", "lost", f"{stage}: the command hung")
        return
    if done.returncode == 77 or "unshare" in done.stderr:
        return
    during = project.table(stage)
    yield judge("full disk", f"{stage}, {size} kB: {(done.stdout + done.stderr)[-300:]}", right=RIGHT[stage],
                during=during, status=done.returncode, after=_again(project, stage))  # fmt: skip
