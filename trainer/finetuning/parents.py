"""The pretrained models that fine-tuning starts from.

One has learned from all films. Where films show speakers of the labelled corpora, there is one a fold too: it has
neither heard nor seen the speakers whom the fold tests, but all others, with a label or without [ours]. It is the
target's own domain in which pretraining teaches most (docs/results.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainer.data.rows import text
from trainer.data.shards import Shards
from trainer.errors import InputError
from trainer.finetuning.labelled import labelled_sets
from trainer.models.checkpoint import Checkpoint, load_model
from trainer.params import FinetuneParams, Params, PretrainParams
from trainer.pretraining.pretext import allowed_rows

FOLDS = "folds"  # folder of the models a fold, in that of the model of all films
INDEX = "index.json"  # lists them
FoldName = tuple[str, str]  # corpus and fold


@dataclass(frozen=True)
class Parent:
    """A pretrained model: its folder, the keys of the speakers it was made with, and itself.

    ``checkpoint`` is None where it is still to be trained; ``speakers`` are then those that it may hear.
    """

    folder: Path
    speakers: frozenset[str]
    checkpoint: Checkpoint | None = field(default=None, repr=False, compare=False)

    @classmethod
    def read(cls, folder: Path) -> Parent:
        """Read it back; raises InputError as `load_model`."""
        checkpoint = load_model(folder)
        return cls(folder, frozenset(checkpoint.config["speakers"]), checkpoint)


@dataclass(frozen=True)
class Parents:
    """The model of all films, and those of the folds that need one of their own."""

    everyone: Parent
    folds: Mapping[FoldName, Parent] = field(default_factory=dict)

    def of(self, corpus: str, fold: str) -> Parent:
        """Return what a run of a fold starts from."""
        return self.folds.get((corpus, fold), self.everyone)

    @classmethod
    def read(cls, folder: str | Path) -> Parents:
        """Read a folder that `trainer.finetuning.pretrainings.pretrain_all` or any other training wrote.

        Raises:
            InputError: it is no model folder, or damaged.
        """
        folder = Path(folder)
        everyone = Parent.read(folder)
        index = folder / FOLDS / INDEX
        if not index.is_file():
            return cls(everyone)
        try:
            entries = json.loads(index.read_text(encoding="utf-8"))
            places = {(entry["corpus"], entry["fold"]): folder / FOLDS / entry["folder"] for entry in entries}
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{index} is damaged: run `python -m trainer pretrain` again") from None
        return cls(everyone, {name: Parent.read(place) for name, place in places.items()})

    def check(self, shards: Shards, params: Params) -> None:
        """Raise InputError unless all take these features and have the shape of section encoder."""
        for parent in (self.everyone, *self.folds.values()):
            if parent.checkpoint is not None:
                check_parent(parent.checkpoint, shards, params, parent.folder)


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


def heard_speakers(films: Shards, options: PretrainParams) -> frozenset[str]:
    """Return the keys of the speakers whom a pretraining may use: all but those of a given test split."""
    rows = allowed_rows(films, options)
    return frozenset(films.speakers[rows[text(films.rows, "split")[rows] != "test"]])


def left_out(
    labelled: Shards, films: Shards, tuning: FinetuneParams, pretraining: PretrainParams
) -> dict[FoldName, tuple[str, ...]]:
    """Return the folds that need a model of their own, and the speakers whom it must not hear.

    These are the folds that test somebody whom the films show; with ``pretrain.per_fold: false``, or where speakers
    heard in pretraining are allowed in the test (``finetune.allow_pretrain_speakers``), there are none.

    Raises:
        InputError: there are no labels, or no folds can be made.
    """
    if not pretraining.per_fold or tuning.allow_pretrain_speakers:
        return {}
    heard = heard_speakers(films, pretraining)
    found = {}
    for corpus in labelled_sets(labelled, tuning):
        for fold in corpus.folds(tuning):
            tested = np.unique(corpus.speakers[fold.test].astype(str))
            shared = tuple(str(name) for name in tested if name in heard)
            if shared:
                found[(corpus.name, fold.name)] = shared
    return found
