"""One class an utterance."""

# ruff: noqa: D102 - the methods are described once, in Objective

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
import torch

from trainer.data.arrays import BoolArray, IntArray
from trainer.data.rows import MISSING, Target, class_indices, label_names
from trainer.errors import InputError
from trainer.objectives.base import Objective, class_table, confusion_rows
from trainer.objectives.losses import CrossEntropy, Loss, balanced_weights
from trainer.objectives.metrics import MEASURES, Array, Measures, from_confusion, per_class
from trainer.params import FinetuneParams


@dataclass(frozen=True)
class Hard(Objective):
    """One class an utterance; class-weighted cross-entropy, with label smoothing if asked for."""

    kind = "hard"
    score = "uar"
    one_class = True
    of_emotion = True
    shown = MEASURES

    @classmethod
    def plan(cls, rows: pd.DataFrame, options: FinetuneParams) -> Self:
        names = label_names(list(rows[options.target])) if options.target in rows else []
        if len(names) == 1:
            raise InputError(f"only one class ({names[0]}) in column {options.target!r}")
        return cls(tuple(names))

    def encode(self, rows: pd.DataFrame, target: str) -> Target:
        return class_indices(list(rows[target]), self.names)

    def loss(self, truth: Target, *, label_smoothing: float, balanced: bool = True) -> Loss:
        size = len(self.names)
        return CrossEntropy(balanced_weights(truth, size) if balanced else torch.ones(size), label_smoothing)

    def labelled(self, truth: Target) -> BoolArray:
        return truth != MISSING

    def strata(self, truth: Target) -> IntArray:
        return truth

    def sums(self, truth: Target, predicted: Array) -> Array:
        return confusion_rows(truth, predicted.argmax(axis=1), len(self.names))

    def measures(self, sums: Array) -> Measures:
        return from_confusion(self._matrix(sums))

    def per_class(self, sums: Array) -> Measures:
        return per_class(self._matrix(sums))

    def _matrix(self, sums: Array) -> Array:
        return sums.reshape(*sums.shape[:-1], len(self.names), len(self.names))

    def table(self, truth: Target, predicted: Array) -> pd.DataFrame:
        return class_table(self.names, truth, predicted)

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> Self:
        return cls(tuple(label_names([*table["target"], *table["predicted"]])))

    def read(self, table: pd.DataFrame) -> tuple[Target, Array]:
        truth, predicted = (class_indices(list(table[column]), self.names) for column in ("target", "predicted"))
        return truth, np.eye(len(self.names))[predicted]
