"""The recipe ``orofacial``: mouth movement from speech, learnt alone and with visemes and emotion as secondary tasks.

After Sadoughi & Busso (FG 2018). Every seed draws held-out sentences; every structure and every set of tasks is trained
on the same rows and stopped by the same criterion, the movement on further held-out sentences, so that one run compares
them. Speakers with few clips are never trained on and are measured too. Sizes, weights and protocol are ours.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.data.rows import Texts, label_names, text
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.params import OrofacialParams, Params, RuntimeParams
from trainer.recipes.orofacial.mouth_shapes import shape_names
from trainer.recipes.orofacial.report import write_report
from trainer.recipes.orofacial.run import FaceRun, FaceTraining, Parts
from trainer.store import code_fingerprint, content_key, is_done, package_versions, replace_folder
from trainer.training.jobs import train_missing

MIN_CLASS = 10  # training segments that an emotion needs: of fewer nothing is learnt but their weight [ours]


def parts(shards: Shards, options: OrofacialParams, *, seed: int) -> Parts:
    """Draw a seed's rows. What is said stays on one side, whoever says it; clips stay whole in any case.

    Held out as speakers: the splits dev and test, and, if anyone has ``min_clips`` clips, everyone with fewer.

    Raises:
        InputError: the shards hold no movement, or too little is left to train on.
    """
    rows = shards.rows
    if not shards.frame_names.get("mouth"):
        raise InputError(f"{shards.folder} has no column mouth: run `dvc repro recipes/orofacial/dvc.yaml`")
    has_face = np.array(
        [bool(np.isfinite(shards.mouth[a:b]).any()) for a, b in zip(shards.offsets, shards.offsets[1:], strict=False)]
    )
    unknown = set(options.corpora) - set(shards.corpora)
    if unknown:
        raise InputError(f"orofacial: corpora: {', '.join(sorted(unknown))} not in {shards.folder}")
    wanted = np.flatnonzero(has_face & (np.isin(shards.corpora, options.corpora) if options.corpora else True))
    keys, clips = shards.speakers[wanted], shards.clips[wanted]
    count = pd.DataFrame({"key": keys, "clip": clips}).groupby("key")["clip"].nunique()
    few = np.array([count[key] < options.min_clips for key in keys], dtype=bool)
    held_out = np.isin(text(rows, "split")[wanted], ["dev", "test"]) | (few if not few.all() else False)
    # a speaker on two sides of a given split is held out as a whole
    held_out = np.isin(keys, np.unique(keys[held_out]))
    sentence = sentence_keys(shards)[wanted] if options.held_out == "sentences" else clips
    pool = np.array(sorted(set(sentence[~held_out])), dtype=object)
    n_test, n_dev = (max(1, round(share * len(pool))) for share in (options.test_share, options.dev_share))
    if len(pool) < n_test + n_dev + 2:
        raise InputError(
            f"{shards.folder}: {len(pool)} {options.held_out} of speakers to train on; lower the recipe's min_clips, "
            "add films, or set held_out to clips where everyone says the same few sentences"
        )
    order = np.random.default_rng(seed).permutation(pool)
    sides = np.split(order, [n_test, n_test + n_dev])
    sentences, dev, train = (wanted[~held_out & np.isin(sentence, side)] for side in sides)
    return Parts(train, dev, sentences, wanted[held_out])


def sentence_keys(shards: Shards) -> Texts:
    """Return what is said in every row, (N,): equal words are one sentence, whoever says them; else the clip.

    Case, punctuation and blanks do not count.
    """
    spoken = text(shards.rows, "sentence")
    words = [" ".join(re.sub(r"[^\w\s']", " ", one.lower()).split()) for one in spoken]
    return np.array([one or f"clip {clip}" for one, clip in zip(words, shards.clips, strict=True)], dtype=object)


def shared_sentences(shards: Shards, rows: Parts) -> dict[str, int]:
    """Return how many test rows say what somebody says in training, by kind of test."""
    keys = sentence_keys(shards)
    trained = set(keys[rows.train])
    sides = {"sentences": rows.sentences, "speakers": rows.speakers}
    return {f"{name}_shared": int(np.isin(keys[side], list(trained)).sum()) for name, side in sides.items()}


@dataclass(frozen=True)
class FaceContext:
    """What all runs share; small enough to send to worker processes."""

    shards: Shards
    runtime: RuntimeParams
    options: OrofacialParams
    finished: Path  # folder of finished runs


def orofacial(
    shards_folder: str | Path,
    out: str | Path,
    reports: str | Path,
    params: Params,
    recipe: OrofacialParams,
    *,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int, int], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train and compare all structures and sets of tasks; write models and reports, return the runs.

    ``out``: ``<structure>_movement[_viseme][_emotion]/``, of the seed that was best on its early-stopping sentences.
    ``reports``: orofacial.parquet, .csv (a row a run) and .md (means, spreads, paired differences). A secondary
    task that the shards have no labels for is left out, and the report says so. Finished runs stay in ``cache`` under
    a key of their content, so that a killed run goes on; ``workers`` (processes) change no number. ``on_start(runs,
    already done)`` and ``on_run(name)`` report progress.

    Raises:
        InputError: as `parts` does.
    """
    shards = open_shards(shards_folder, cache=cache)
    context = FaceContext(shards, params.trainer, recipe, Path(cache) / "units")
    runs, left_out = plan_faces(shards, params.trainer, recipe)
    train_missing(
        {run.key: run for run in runs},
        partial(is_done, context.finished),
        _train_one,
        context,
        workers=workers,
        on_start=on_start,
        on_done=None if on_run is None else lambda run: on_run(f"{run.name}, seed {run.seed}"),
    )
    metrics = [(context.finished / run.key / "metrics.json").read_text(encoding="utf-8") for run in runs]
    table = pd.DataFrame([json.loads(content)["row"] for content in metrics])
    names = pd.Series([run.name for run in runs])
    for name, position in table["dev_score"].astype(float).groupby(names).idxmax().items():
        best = context.finished / runs[int(position)].key
        replace_folder(Path(out) / str(name), partial(shutil.copytree, best, dirs_exist_ok=True))
    write_report(table, Path(reports), left_out=left_out)
    return table


def plan_faces(shards: Shards, runtime: RuntimeParams, options: OrofacialParams) -> tuple[list[FaceRun], list[str]]:
    """All runs, by seed, structure and tasks; and the secondary tasks that the shards have no labels for."""
    drawn = {seed: parts(shards, options, seed=seed) for seed in options.seeds}
    classes = {seed: _classes(shards, drawn[seed].train, options) for seed in options.seeds}
    there = set.intersection(*(set(found) for found in classes.values()))
    tasks = list(dict.fromkeys(tuple(name for name in names if name in there) for names in options.tasks))
    base = {
        "shards": shards.fingerprint,
        "trainer": runtime.model_dump(mode="json"),
        "orofacial": options.model_dump(mode="json", exclude={"structures", "tasks", "seeds"}),
        "code": code_fingerprint("recipes/orofacial"),
        "packages": package_versions(),
    }
    runs = []
    for seed in options.seeds:
        for structure in options.structures:
            for names in tasks:
                wanted: dict[str, tuple[str, ...]] = {name: classes[seed][name] for name in names}
                key = content_key({**base, "seed": seed, "structure": structure, "classes": wanted})
                source = emotion_column(shards, drawn[seed].train, options)
                runs.append(FaceRun(seed, structure, wanted, drawn[seed], key, source))
    return runs, sorted({name for names in options.tasks for name in names} - there)


def _train_one(context: FaceContext, run: FaceRun) -> None:
    """Train and measure one network; its folder appears only when it is complete."""
    training = FaceTraining(context.shards, run, context.runtime, context.options)
    row = training.train() | shared_sentences(context.shards, run.rows)
    training.save(context.finished / run.key, row)


def _classes(shards: Shards, train: IntArray, options: OrofacialParams) -> dict[str, tuple[str, ...]]:
    """Return secondary task -> classes, for those that the training rows have labels for."""
    found: dict[str, tuple[str, ...]] = {}
    visemes = shards.frame_names.get("viseme", ())
    if options.viseme == "shapes":
        found["viseme"] = shape_names(options.shapes)
    elif visemes and any((shards.viseme[shards.offsets[row] : shards.offsets[row + 1]] >= 0).any() for row in train):
        found["viseme"] = visemes
    source = emotion_column(shards, train, options)
    names = _frequent(shards, train, source)
    if len(names) >= 2:
        found["emotion"] = names
    return found


def emotion_column(shards: Shards, train: IntArray, options: OrofacialParams) -> str:
    """Return the column of emotion; for auto that of the manifest's labels where two classes have enough."""
    if options.emotion != "auto":
        return options.emotion
    return "emotion" if len(_frequent(shards, train, "emotion")) >= 2 else "t3_label"


def _frequent(shards: Shards, train: IntArray, column: str) -> tuple[str, ...]:
    labels = text(shards.rows.iloc[train], column)
    return tuple(name for name in label_names(list(labels)) if (labels == name).sum() >= MIN_CLASS)
