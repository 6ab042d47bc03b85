"""The recipe ``orofacial``: mouth movement from speech, learnt alone and with visemes and emotion beside it.

After Sadoughi & Busso (FG 2018). Every seed draws held-out sentences; every structure and every set of tasks is trained
on the same rows and stopped by the same criterion, the movement on further held-out sentences, so that one run compares
them. Speakers with few clips are never trained on and are measured besides. Sizes, weights and protocol are ours.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.data.rows import label_names, speaker_keys, text
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.params import OrofacialParams, Params
from trainer.recipes.orofacial.mouth_shapes import shape_names
from trainer.recipes.orofacial.network import Structure
from trainer.recipes.orofacial.report import write_report
from trainer.recipes.orofacial.run import FaceRun, Parts
from trainer.store import code_fingerprint, content_key, is_done, package_versions, replace_folder
from trainer.training.jobs import in_processes

MIN_CLASS = 10  # training segments that an emotion needs: of fewer nothing is learnt but their weight [ours]


def parts(shards: Shards, options: OrofacialParams, *, seed: int) -> Parts:
    """Draw a seed's rows; clips stay whole.

    Held out as speakers: the splits dev and test, and, if anyone has ``min_clips`` clips, everyone with fewer. Raises
    InputError if no movement was seen, or too little is left to train on.
    """
    rows = shards.rows
    if not shards.frame_names.get("mouth"):
        raise InputError(f"{shards.folder} has no column mouth: run `dvc repro recipes/orofacial/dvc.yaml`")
    seen = np.array(
        [bool(np.isfinite(shards.mouth[a:b]).any()) for a, b in zip(shards.offsets, shards.offsets[1:], strict=False)]
    )
    corpora = text(rows, "corpus")
    unknown = set(options.corpora) - set(corpora)
    if unknown:
        raise InputError(f"orofacial.corpora: {', '.join(sorted(unknown))} not in {shards.folder}")
    wanted = np.flatnonzero(seen & (np.isin(corpora, options.corpora) if options.corpora else True))
    keys, clips = speaker_keys(rows, unknown_is_own=True)[wanted], text(rows, "clip_id")[wanted]
    count = pd.DataFrame({"key": keys, "clip": clips}).groupby("key")["clip"].nunique()
    few = np.array([count[key] < options.min_clips for key in keys], dtype=bool)
    unseen = np.isin(text(rows, "split")[wanted], ["dev", "test"]) | (few if not few.all() else False)
    # a speaker on two sides of a given split is held out as a whole
    unseen = np.isin(keys, np.unique(keys[unseen]))
    pool = np.array(sorted(set(clips[~unseen])), dtype=object)
    n_test, n_dev = (max(1, round(share * len(pool))) for share in (options.test_share, options.dev_share))
    if len(pool) < n_test + n_dev + 2:
        raise InputError(
            f"{shards.folder}: {len(pool)} clips of speakers to train on; lower orofacial.min_clips or add films"
        )
    order = np.random.default_rng(seed).permutation(pool)
    sides = np.split(order, [n_test, n_test + n_dev])
    sentences, dev, train = (wanted[~unseen & np.isin(clips, side)] for side in sides)
    return Parts(train, dev, sentences, wanted[unseen])


@dataclass(frozen=True)
class FaceUnit:
    """One training: a seed and the rows it draws, a structure, and the classes of its secondary tasks."""

    seed: int
    structure: Structure
    classes: dict[str, tuple[str, ...]]
    rows: Parts
    key: str  # of its content; names its folder among the finished units

    @property
    def name(self) -> str:
        """Folder name of the trained network."""
        return model_name(self.structure, tuple(self.classes))


@dataclass(frozen=True)
class FaceContext:
    """What all units share; small enough to send to worker processes."""

    shards: Shards
    params: Params
    units: Path  # folder of finished units


def orofacial(
    shards_folder: str | Path,
    out: str | Path,
    reports: str | Path,
    params: Params,
    *,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int, int], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train and compare all structures and sets of tasks; write models and reports, return the runs.

    ``out``: ``<structure>_movement[_viseme][_emotion]/``, of the seed that was best on its early-stopping sentences.
    ``reports``: orofacial.parquet, .csv (a row a run) and .md (means, spreads, paired differences). A secondary
    task that the shards have no labels for is left out, and the report says so. Finished units stay in ``cache`` under
    a key of their content, so that a killed run goes on; ``workers`` (processes) change no number. ``on_start(units,
    already done)`` and ``on_run(name)`` report progress. Raises InputError as `parts` does.
    """
    shards = open_shards(shards_folder, cache=cache)
    context = FaceContext(shards, params, Path(cache) / "units")
    units, left_out = plan_faces(shards, params)
    missing = [unit for unit in units if not is_done(context.units, unit.key)]
    if on_start is not None:
        on_start(len(units), len(units) - len(missing))
    for unit in in_processes(_train_one, context, missing, workers=workers):
        if on_run is not None:
            on_run(f"{unit.name}, seed {unit.seed}")
    table = pd.DataFrame(
        [json.loads((context.units / unit.key / "metrics.json").read_text(encoding="utf-8"))["row"] for unit in units]
    )
    names = pd.Series([unit.name for unit in units])
    for name, position in table["dev_score"].astype(float).groupby(names).idxmax().items():
        found = context.units / units[int(position)].key
        replace_folder(Path(out) / str(name), partial(shutil.copytree, found, dirs_exist_ok=True))
    write_report(table, Path(reports), left_out=left_out)
    return table


def plan_faces(shards: Shards, params: Params) -> tuple[list[FaceUnit], list[str]]:
    """All units, by seed, structure and tasks; and the secondary tasks that the shards have no labels for."""
    options = params.orofacial
    drawn = {seed: parts(shards, options, seed=seed) for seed in options.seeds}
    classes = {seed: _classes(shards, drawn[seed].train, options) for seed in options.seeds}
    there = set.intersection(*(set(found) for found in classes.values()))
    tasks = list(dict.fromkeys(tuple(name for name in names if name in there) for names in options.tasks))
    base = {
        "shards": shards.fingerprint,
        "trainer": params.trainer.model_dump(mode="json"),
        "orofacial": options.model_dump(mode="json", exclude={"structures", "tasks", "seeds"}),
        "code": code_fingerprint("recipes/orofacial"),
        "packages": package_versions(),
    }
    units = []
    for seed in options.seeds:
        for structure in options.structures:
            for names in tasks:
                wanted: dict[str, tuple[str, ...]] = {name: classes[seed][name] for name in names}
                identity = {**base, "seed": seed, "structure": structure, "classes": wanted}
                key = content_key(identity)
                units.append(FaceUnit(seed, structure, wanted, drawn[seed], key))
    return units, sorted({name for names in options.tasks for name in names} - there)


def _train_one(context: FaceContext, unit: FaceUnit) -> None:
    """Train and measure one unit; its folder appears only when it is complete."""
    run = FaceRun(context.shards, unit.rows, context.params, unit.seed, unit.structure, unit.classes)
    row = run.train()
    run.save(context.units / unit.key, row)


def model_name(structure: str, tasks: tuple[str, ...]) -> str:
    """Return the folder name of a trained network.

    >>> model_name("shared", ("viseme",))
    'shared_movement_viseme'
    """
    return "_".join((structure, "movement", *tasks))


def _classes(shards: Shards, train: IntArray, options: OrofacialParams) -> dict[str, tuple[str, ...]]:
    """Return secondary task -> classes, for those that the training rows have labels for."""
    found: dict[str, tuple[str, ...]] = {}
    visemes = shards.frame_names.get("viseme", ())
    if options.viseme == "shapes":
        found["viseme"] = shape_names(options.shapes)
    elif visemes and any((shards.viseme[shards.offsets[row] : shards.offsets[row + 1]] >= 0).any() for row in train):
        found["viseme"] = visemes
    labels = text(shards.rows.iloc[train], options.emotion)
    frequent = tuple(name for name in label_names(list(labels)) if (labels == name).sum() >= MIN_CLASS)
    if len(frequent) >= 2:
        found["emotion"] = frequent
    return found
