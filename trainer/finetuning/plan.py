"""What a fine-tuning run consists of: units (corpus, mode, fold, seed), each under a key of its content.

Every protocol check is made here, before anything is trained. The key is why a killed run resumes, a repeated run
costs nothing, and changed data, parameters or code never meet an old result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.data.rows import Target, speaker_keys, text
from trainer.data.shards import Shards
from trainer.data.splits import Fold, assert_disjoint, folds, hold_out_speakers, label_subset
from trainer.errors import InputError
from trainer.models.checkpoint import Checkpoint
from trainer.objectives import OBJECTIVES, Objective
from trainer.params import FinetuneParams, Params
from trainer.store import code_fingerprint, content_key, package_versions, slug


@dataclass(frozen=True)
class Run:
    """One training: row indices into the shards, one seed, one mode."""

    corpus: str
    mode: str
    seed: int
    fold: str
    protocol: str  # what kind of folds
    train: IntArray
    dev: IntArray
    test: IntArray
    objective: Objective
    label_source: str
    label_rule: str
    key: str

    @property
    def name(self) -> str:
        """Readable and usable as a file name."""
        return f"{slug(self.fold)}_seed{self.seed}"


def plan(
    shards: Shards,
    params: Params,
    parent: Checkpoint | None,
    *,
    modes: Sequence[str] | None = None,
    expected_speakers: Collection[str] = (),
) -> list[Run]:
    """All units of all corpora, with every protocol check done before anything is trained.

    ``modes``: instead of those of section ``finetune``. Without ``parent`` the keys of the modes that need one are
    those of no stored unit; ``expected_speakers`` are then the ones that a parent still to be trained will hear.
    """
    options = params.finetune
    pretrain_speakers = set(expected_speakers) if parent is None else set(parent.config["speakers"])
    base = _base_key(shards, params)
    units: list[Run] = []
    for corpus, rows, objective, labels in _labelled(shards, options):
        table = shards.rows.iloc[rows]
        source = one_value(table, "label_source", corpus=corpus)
        rule = one_value(table, "label_rule", corpus=corpus) if objective.of_emotion else ""
        keys = speaker_keys(table)
        for number, fold in enumerate(
            folds(table, how=options.folds, dev="fold" if options.dev == "fold" else "speakers")
        ):
            if not options.allow_pretrain_speakers:
                heard = sorted(pretrain_speakers & set(keys[fold.test]))
                if heard:
                    raise InputError(
                        f"corpus {corpus}, {fold.name}: test speaker(s) {', '.join(heard[:5])} were heard in "
                        "pretraining; leave them out of the unlabelled set, or set finetune.allow_pretrain_speakers "
                        "(every result will say so)"
                    )
            for seed in options.seeds:
                rng = np.random.default_rng([seed, number])
                train, dev = _early_stopping(table, keys, fold, options, rng=rng)
                assert_disjoint({"train": keys[train], "dev": keys[dev], "test": keys[fold.test]})
                strata = objective.strata(labels[train])
                train = train[label_subset(strata, fraction=options.label_fraction, rng=rng)]
                for mode in options.modes if modes is None else modes:
                    identity = {**base, "corpus": corpus, "mode": mode, "seed": seed, "fold": fold.name}
                    identity["normalisation"] = normalisation_of(mode, options)
                    if mode != "scratch" and parent is not None:
                        identity["parent"] = parent.fingerprint
                        identity["transfer"] = options.transfer
                    if options.goes_on(mode):
                        identity["auxiliary"] = options.auxiliary.model_dump(mode="json")
                    sides = [rows[train], rows[dev], rows[fold.test]]
                    identity["rows"] = [side.tolist() for side in sides]
                    key = content_key(identity)
                    units.append(
                        Run(
                            corpus=corpus,
                            mode=mode,
                            seed=seed,
                            fold=fold.name,
                            protocol=fold.protocol,
                            train=sides[0],
                            dev=sides[1],
                            test=sides[2],
                            objective=objective,
                            label_source=objective.source(source),
                            label_rule=objective.rule(rule),
                            key=key,
                        )
                    )
    return units


def normalisation_of(mode: str, options: FinetuneParams) -> str:
    """Whose statistics normalise the features of a mode: train, parent or speaker; every result names it."""
    return "train" if mode == "scratch" and options.normalisation == "parent" else options.normalisation


def one_value(table: pd.DataFrame, column: str, *, corpus: str) -> str:
    """Return what all rows of a corpus say in ``column``, "" if none says anything.

    Raises InputError that names the values if they differ: labels from acting, from voices and from faces answer
    different questions, and a number over a mixture of them answers none.
    """
    values = text(table, column)
    found = {value: np.flatnonzero(values == value) for value in sorted(set(values))}
    if len(found) > 1:
        ids = text(table, "segment_id")
        places = [f"{value or '(not stated)'!r} ({len(at)} rows, e.g. {ids[at[0]]})" for value, at in found.items()]
        raise InputError(f"corpus {corpus} mixes the {column} {' and '.join(places)}: make one set for each")
    return str(values[0]) if len(values) else ""


def _labelled(shards: Shards, options: FinetuneParams) -> Iterator[tuple[str, IntArray, Objective, Target]]:
    """For each corpus that has labels: its name, its labelled rows, its objective, and their labels."""
    corpora = text(shards.rows, "corpus")
    none = True
    for corpus in sorted(set(corpora)):
        rows = np.flatnonzero(corpora == corpus)
        table = shards.rows.iloc[rows]
        try:
            objective = OBJECTIVES[options.objective].plan(table, options)
        except InputError as error:
            raise InputError(f"corpus {corpus}: {error}") from None
        if not objective.names:
            continue
        labels = objective.encode(table, options.target)
        has = objective.labelled(labels)
        if has.any():
            none = False
            yield corpus, rows[has], objective, labels[has]
    if none:
        raise InputError(
            f"{shards.folder}: no row has a label for finetune.target {options.target!r} ({options.objective})"
        )


def check_parent(parent: Checkpoint, shards: Shards, params: Params, folder: Path) -> None:
    """Raise InputError unless the pretrained encoder takes these features and has the shape that is asked for."""
    parent.spec.check(shards)
    differing = [
        name
        for name in type(params.encoder).model_fields
        if name not in ("dropout", "max_seconds", "crop_seconds")  # none changes what the weights mean
        and getattr(params.encoder, name) != getattr(parent.spec.encoder, name)
    ]
    if differing:
        raise InputError(
            f"{folder} was pretrained with another encoder ({', '.join(differing)} differ): run pretrain again"
        )


def _early_stopping(
    table: pd.DataFrame, keys: np.ndarray, fold: Fold, options: FinetuneParams, *, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Training and early-stopping rows of a fold: given dev rows, else whole training speakers, or none."""
    if options.dev == "none":  # rows that the manifest itself calls dev are nobody's training rows all the same
        return fold.train, np.zeros(0, dtype=np.int64)
    if fold.dev is not None:
        return fold.train, fold.dev
    try:
        kept, held = hold_out_speakers(table.iloc[fold.train], keys[fold.train], share=options.dev_share, rng=rng)
    except InputError as error:
        raise InputError(f"{fold.name}, training part: {error}") from None
    return fold.train[kept], fold.train[held]


def _base_key(shards: Shards, params: Params) -> dict[str, Any]:
    """Name what every unit's result depends on; what only chooses or shows units is left out."""
    choosing = {"modes", "seeds", "folds", "keep", "allow_pretrain_speakers", "transfer", "normalisation", "auxiliary"}
    return {
        "shards": shards.fingerprint,
        "trainer": params.trainer.model_dump(mode="json"),
        "encoder": params.encoder.model_dump(mode="json"),
        "finetune": params.finetune.model_dump(mode="json", exclude=choosing),
        "code": code_fingerprint(),
        "packages": package_versions(),
    }
