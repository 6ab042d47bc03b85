"""Targets out of the raters' votes: their distribution, or every class that enough of them chose."""

# ruff: noqa: D102 - the methods are described once, in Objective

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from trainer.data.arrays import BoolArray, IntArray
from trainer.data.rows import MISSING, Target
from trainer.errors import InputError
from trainer.objectives.base import Objective, class_table, columns, confusion_rows
from trainer.objectives.losses import DistributionLoss, Loss, MultiLabelLoss
from trainer.objectives.metrics import (
    CALIBRATION_BINS,
    MEASURES,
    Array,
    Measures,
    calibration_error,
    class_measures,
    from_confusion,
    from_hits,
    per_class,
)
from trainer.params import FinetuneParams

_VOTES = "votes_"
_NO_CLASS = "votes_other"  # counts in the total and is no class
_SMALLEST = 1e-7  # a probability of 0 would make the divergence infinite; float32 resolves no less below 1


class _Votes(Objective):
    """Targets out of the raters' votes."""

    @classmethod
    def plan(cls, rows: pd.DataFrame, options: FinetuneParams) -> Self:
        names = [name.removeprefix(_VOTES) for name in _vote_columns(rows) if (rows[name] > 0).any()]
        if len(names) == 1:
            raise InputError(f"the raters chose only one class ({names[0]})")
        return cls(tuple(names))


@dataclass(frozen=True)
class Soft(_Votes):
    """The distribution of the raters' votes over the classes (``votes_other`` left out); KL divergence.

    UAR and its kin are measured against the class with most votes; an utterance whose top votes are equal has none and
    counts in the other measures alone. ``f1_over_chance`` calls a class present where its share is above 1/K, on both
    sides [paper: Chou, Lee & Busso 2022].
    """

    kind = "soft"
    score = "uar"
    one_class = True
    shown = (*MEASURES, "kl", "ece", "f1_over_chance")

    def encode(self, rows: pd.DataFrame, target: str) -> Target:
        votes = rows[[f"{_VOTES}{name}" for name in self.names]].to_numpy(dtype=float)
        total = np.nansum(votes, axis=1, keepdims=True)
        shares = np.where(total > 0, np.nan_to_num(votes) / np.where(total > 0, total, 1.0), np.nan)
        return shares.astype(np.float32)

    def loss(self, truth: Target, *, label_smoothing: float, balanced: bool = True) -> Loss:
        return DistributionLoss(label_smoothing)

    def sums(self, truth: Target, predicted: Array) -> Array:
        from scipy.special import rel_entr  # .1 s, which prediction does not need

        size = len(self.names)
        top, alone = self._top(truth)
        answer = predicted.argmax(axis=1)
        matrix = confusion_rows(top, answer, size) * alone[:, None]
        divergence = rel_entr(truth, np.clip(predicted, _SMALLEST, 1.0)).sum(axis=1)
        confidence = predicted.max(axis=1)
        bins = np.eye(CALIBRATION_BINS)[np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)]
        bins = bins * alone[:, None]
        calibration = [bins, bins * confidence[:, None], bins * (top == answer)[:, None]]
        level = 1 / size + _SMALLEST  # one vote of K is not above, whatever the rounding
        present = _hit_rows(truth > level, predicted > level)
        return np.column_stack([matrix, np.ones(len(truth)), divergence, *calibration, present])

    def measures(self, sums: Array) -> Measures:
        size, bins = len(self.names), CALIBRATION_BINS
        cuts = np.cumsum([size * size, 1, 1, bins, bins, bins])
        matrix, n, divergence, *calibration, present = np.split(sums, cuts, axis=-1)
        classes = from_confusion(matrix.reshape(*sums.shape[:-1], size, size))
        return {
            **{name: classes[name] for name in MEASURES},
            "kl": divergence[..., 0] / n[..., 0],
            "ece": calibration_error(*calibration),
            "f1_over_chance": _from_hit_sums(present, size)["macro_f1"],
            "chance": classes["chance"],
        }

    def per_class(self, sums: Array) -> Measures:
        size = len(self.names)
        return per_class(sums[..., : size * size].reshape(*sums.shape[:-1], size, size))

    def rule(self, stated: str) -> str:
        return "vote shares"

    def table(self, truth: Target, predicted: Array) -> pd.DataFrame:
        top, alone = self._top(truth)
        answer = class_table(self.names, np.where(alone, top, MISSING), predicted)
        return pd.concat([answer, columns("t", self.names, truth)], axis=1)

    @staticmethod
    def _top(truth: Target) -> tuple[IntArray, BoolArray]:
        """Class with most votes, and whether it stands alone."""
        most = truth.max(axis=1, keepdims=True)
        return truth.argmax(axis=1).astype(np.int64), (truth == most).sum(axis=1) == 1


@dataclass(frozen=True)
class MultiLabel(_Votes):
    """Every class whose share of all votes is above ``threshold`` (None: 1/K); binary cross-entropy.

    ``votes_other`` counts in the total, and an utterance may have no class at all. A class is predicted where its
    probability is above .5 [paper: Chou, Lee & Busso 2022]. ``hamming``, ``ranking`` and ``coverage`` are smaller for a
    better answer.
    """

    threshold: float | None = None

    kind = "multilabel"
    score = "macro_f1"
    shown = ("macro_precision", "macro_recall", "macro_f1", "hamming", "ranking", "coverage")

    @classmethod
    def plan(cls, rows: pd.DataFrame, options: FinetuneParams) -> Self:
        threshold = None if isinstance(options.vote_threshold, str) else options.vote_threshold
        return replace(super().plan(rows, options), threshold=threshold)

    def encode(self, rows: pd.DataFrame, target: str) -> Target:
        votes = rows[[f"{_VOTES}{name}" for name in self.names]].to_numpy(dtype=float)
        total = np.nansum(rows[_vote_columns(rows, all_of_them=True)].to_numpy(dtype=float), axis=1, keepdims=True)
        # counts against threshold * total: a share of exactly 1/6 must not pass by rounding
        above = np.nan_to_num(votes) > self._share * total + 1e-9
        return np.where(total > 0, above, np.nan).astype(np.float32)

    def loss(self, truth: Target, *, label_smoothing: float, balanced: bool = True) -> Loss:
        return MultiLabelLoss()

    def predict(self, outputs: Tensor) -> npt.NDArray[np.float32]:
        return torch.sigmoid(outputs).numpy()

    def sums(self, truth: Target, predicted: Array) -> Array:
        return np.column_stack([_hit_rows(truth > 0.5, predicted > 0.5), *_ranks(truth > 0.5, predicted)])

    def measures(self, sums: Array) -> Measures:
        size = len(self.names)
        hits, ranks = np.split(sums, [3 * size + 1], axis=-1)
        n = hits[..., -1]
        # each pair of a class and an utterance that is wrong is in one of the two counts but not in the hits
        right, n_true, n_predicted = (hits[..., k * size : (k + 1) * size].sum(axis=-1) for k in range(3))
        return {
            **_from_hit_sums(hits, size),
            "hamming": (n_true + n_predicted - 2 * right) / (n * size),
            "ranking": ranks[..., 0] / n,
            "coverage": ranks[..., 1] / n,
        }

    def per_class(self, sums: Array) -> Measures:
        hits, n_true, n_predicted, _ = np.split(sums, np.arange(1, 4) * len(self.names), axis=-1)
        return class_measures(hits, n_true, n_predicted)

    def rule(self, stated: str) -> str:
        return f"vote share > {self._share:.3g}"

    @property
    def _share(self) -> float:
        return 1 / len(self.names) if self.threshold is None else self.threshold


def _vote_columns(rows: pd.DataFrame, *, all_of_them: bool = False) -> list[str]:
    names = sorted(str(name) for name in rows if str(name).startswith(_VOTES))
    return names if all_of_them else [name for name in names if name != _NO_CLASS]


def _hit_rows(truth: BoolArray, predicted: BoolArray) -> Array:
    """Hits, truths and predictions of each class, and 1: (N, 3 K + 1)."""
    return np.column_stack([truth & predicted, truth, predicted, np.ones(len(truth))]).astype(float)


def _ranks(truth: BoolArray, predicted: Array) -> tuple[Array, Array]:
    """Ranking loss and coverage of each utterance, (N,) each, as scikit-learn defines them.

    Ranking loss: the share of pairs of a class that is there and one that is not whose probabilities are in the wrong
    order or equal; 0 where all or none are there. Coverage: how many of the most probable classes have to be taken to
    get all that are there; 0 where there is none.
    """
    wrong = (predicted[:, :, None] <= predicted[:, None, :]) & truth[:, :, None] & ~truth[:, None, :]
    pairs = truth.sum(axis=1) * (~truth).sum(axis=1)
    least = np.where(truth, predicted, np.inf).min(axis=1, keepdims=True)
    coverage = (predicted >= least).sum(axis=1)
    return wrong.sum(axis=(1, 2)) / np.maximum(pairs, 1), coverage.astype(float)


def _from_hit_sums(sums: Array, size: int) -> Measures:
    hits, n_true, n_predicted, n = np.split(sums, [size, 2 * size, 3 * size], axis=-1)
    return from_hits(hits, n_true, n_predicted, n[..., 0])
