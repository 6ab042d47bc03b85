"""Which trainings fine-tuning consists of: runs (corpus, mode, fold, seed), each under a key of its content.

Every protocol check is made here, before anything is trained. The key is why a killed command resumes, a repeated one
costs nothing, and changed data, parameters or code never meet an old result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.data.chunking import note_long_clips
from trainer.data.rows import Target, Texts, text
from trainer.data.shards import Shards
from trainer.data.splits import NOBODY, Fold, assert_disjoint, folds, hold_out_speakers, label_subset
from trainer.errors import InputError
from trainer.finetuning.side_task import SideTask
from trainer.models.checkpoint import Checkpoint
from trainer.objectives import OBJECTIVES, Objective
from trainer.params import FinetuneParams, Params
from trainer.store import code_fingerprint, content_key, package_versions, slug

PLAIN = SideTask()
Sides = Mapping[str, SideTask]  # mode -> what it trains beside the target; modes that are missing train plainly


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
    side: dict[str, Any]  # identity of its side task
    key: str

    @property
    def identity(self) -> dict[str, Any]:
        """What names it in every table."""
        return {"corpus": self.corpus, "mode": self.mode, "fold": self.fold, "seed": self.seed}

    @property
    def name(self) -> str:
        """Readable and usable as a file name."""
        return f"{slug(self.fold)}_seed{self.seed}"

    def __str__(self) -> str:
        """As in a progress line."""
        return f"{self.corpus} {self.mode} {self.fold} seed {self.seed}"


@dataclass(frozen=True)
class _Corpus:
    """The N labelled rows of a corpus."""

    name: str
    rows: IntArray  # (N,) indices into the shards
    table: pd.DataFrame
    speakers: Texts
    objective: Objective
    labels: Target
    label_source: str
    label_rule: str


def plan(
    shards: Shards,
    params: Params,
    parent: Checkpoint | None,
    *,
    modes: Sequence[str] | None = None,
    side: Sides | None = None,
    expected_speakers: Collection[str] = (),
) -> list[Run]:
    """Lay out all runs of all corpora, with every protocol check done before anything is trained.

    ``modes``: instead of those of section finetune. ``side``: the side tasks that the runs will be trained with.
    Without ``parent`` the keys of the modes that need one are those of no stored run; ``expected_speakers`` are then
    the pretraining speakers of the parent that is still to be trained. Raises InputError if a split leaks, a test
    speaker is a pretraining speaker, or labels do not fit the objective.
    """
    options = params.finetune
    pretrain_speakers = set(expected_speakers) if parent is None else set(parent.config["speakers"])
    tasks = {mode: (side or {}).get(mode, PLAIN).identity() for mode in (options.modes if modes is None else modes)}
    identities = {mode: _identity(shards, params, mode, parent) for mode in tasks}
    runs: list[Run] = []
    for corpus in _corpora(shards, options):
        note_long_clips(shards, corpus.rows, params.encoder)
        dev = "fold" if options.dev == "fold" else "speakers"
        for number, fold in enumerate(folds(corpus.table, how=options.folds, dev=dev)):
            if not options.allow_pretrain_speakers:
                _refuse_pretrain_speakers(corpus, fold, pretrain_speakers)
            for seed in options.seeds:
                rows = _draw_rows(corpus, fold, options, seed=seed, number=number)
                runs += [
                    _run(corpus, fold, rows, mode=mode, seed=seed, side=task, identity=identities[mode])
                    for mode, task in tasks.items()
                ]
    return runs


def normalisation_of(mode: str, options: FinetuneParams) -> str:
    """Whose statistics normalise the features of a mode: train, parent or speaker; every result names it."""
    return "train" if mode == "scratch" and options.normalisation == "parent" else options.normalisation


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


def _corpora(shards: Shards, options: FinetuneParams) -> Iterator[_Corpus]:
    """Every corpus that has labels."""
    found = False
    for name in sorted(set(shards.corpora)):
        rows = np.flatnonzero(shards.corpora == name)
        table = shards.rows.iloc[rows]
        try:
            objective = OBJECTIVES[options.objective].plan(table, options)
        except InputError as error:
            raise InputError(f"corpus {name}: {error}") from None
        if not objective.names:
            continue
        labels = objective.encode(table, options.target)
        has = objective.labelled(labels)
        if has.any():
            found = True
            table, rows = table[has], rows[has]
            source = objective.source(_one_value(table, "label_source", corpus=name))
            rule = objective.rule(_one_value(table, "label_rule", corpus=name) if objective.of_emotion else "")
            yield _Corpus(name, rows, table, shards.speakers[rows], objective, labels[has], source, rule)
    if not found:
        raise InputError(
            f"{shards.folder}: no row has a label for finetune.target {options.target!r} ({options.objective})"
        )


def _one_value(table: pd.DataFrame, column: str, *, corpus: str) -> str:
    """Return the one value of a corpus in ``column``, "" if it is empty.

    Raises InputError that names the values if they differ: labels from acting, from voices and from faces answer
    different questions, and a number over a mixture of them answers none.
    """
    values = text(table, column)
    found = {value: np.flatnonzero(values == value) for value in sorted(set(values))}
    if len(found) > 1:
        ids = text(table, "segment_id")
        places = [f"{value or '(not stated)'!r} ({len(at)} rows, e.g. {ids[at[0]]})" for value, at in found.items()]
        raise InputError(f"corpus {corpus} mixes the {column} {' and '.join(places)}: make one set for each")
    return str(values[0])


def _refuse_pretrain_speakers(corpus: _Corpus, fold: Fold, pretrain_speakers: set[str]) -> None:
    shared = sorted(pretrain_speakers & set(corpus.speakers[fold.test]))
    if shared:
        raise InputError(
            f"corpus {corpus.name}, {fold.name}: test speaker(s) {', '.join(shared[:5])} were heard in pretraining; "
            "leave them out of the unlabelled set, or set finetune.allow_pretrain_speakers (every result will name it)"
        )


def _draw_rows(
    corpus: _Corpus, fold: Fold, options: FinetuneParams, *, seed: int, number: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Training, early-stopping and test rows of a fold, as indices into the shards."""
    rng = np.random.default_rng([seed, number])
    train, dev = _early_stopping(corpus, fold, options, rng=rng)
    assert_disjoint(
        {side: corpus.speakers[rows] for side, rows in (("train", train), ("dev", dev), ("test", fold.test))}
    )
    strata = corpus.objective.strata(corpus.labels[train])
    train = train[label_subset(strata, fraction=options.label_fraction, rng=rng)]
    return corpus.rows[train], corpus.rows[dev], corpus.rows[fold.test]


def _early_stopping(
    corpus: _Corpus, fold: Fold, options: FinetuneParams, *, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Training and early-stopping rows of a fold: given dev rows, else whole training speakers, or none."""
    if options.dev == "none":  # rows that the manifest itself calls dev are nobody's training rows all the same
        return fold.train, NOBODY
    if fold.dev is not None:
        return fold.train, fold.dev
    speakers = corpus.speakers[fold.train]
    try:
        kept, held = hold_out_speakers(np.full_like(speakers, corpus.name), speakers, share=options.dev_share, rng=rng)
    except InputError as error:
        raise InputError(f"{fold.name}, training part: {error}") from None
    return fold.train[kept], fold.train[held]


def _run(
    corpus: _Corpus,
    fold: Fold,
    rows: tuple[IntArray, IntArray, IntArray],
    *,
    mode: str,
    seed: int,
    side: dict[str, Any],
    identity: dict[str, Any],
) -> Run:
    train, dev, test = rows
    own: dict[str, Any] = {"corpus": corpus.name, "mode": mode, "seed": seed, "fold": fold.name, "side": side}
    return Run(
        **own,
        protocol=fold.protocol,
        train=train,
        dev=dev,
        test=test,
        objective=corpus.objective,
        label_source=corpus.label_source,
        label_rule=corpus.label_rule,
        key=content_key({**identity, **own, "rows": [part.tolist() for part in rows]}),
    )


def _identity(shards: Shards, params: Params, mode: str, parent: Checkpoint | None) -> dict[str, Any]:
    """Name what the results of a mode depend on besides rows and seed; what only chooses or shows runs is left out."""
    options = params.finetune
    choosing = {"modes", "seeds", "folds", "keep", "allow_pretrain_speakers", "transfer", "normalisation", "auxiliary"}
    identity = {
        "shards": shards.fingerprint,
        "trainer": params.trainer.model_dump(mode="json"),
        "encoder": params.encoder.model_dump(mode="json"),
        "finetune": options.model_dump(mode="json", exclude=choosing),
        "normalisation": normalisation_of(mode, options),
        "code": code_fingerprint(),
        "packages": package_versions(),
    }
    if mode != "scratch" and parent is not None:
        identity |= {"parent": parent.fingerprint, "transfer": options.transfer}
    return identity
