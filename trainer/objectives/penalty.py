"""Penalisation by co-occurring emotions (Chou, Lee & Busso, Interspeech 2022).

Anger and disgust are often chosen for the same utterance, anger and happiness hardly ever. The matrix of such
co-occurrences, from the votes of all TRAINING speakers' utterances, weighs a loss that is added to the objective's own:

    C[j, z] = utterances for which raters chose both j and z,  W[j, z] = C[j, z] / C[z, z],  P = 1 - W      [paper]
    L_P = sum over i, j, z of P[j, z] l(Y_ij, Y'_ij),   total = beta L + alpha L_P                          [paper]

with l one element of the cross-entropy (hard), binary cross-entropy (multilabel) or KL divergence (soft); class weights
and means over rows or classes are those of L, so that alpha and beta mean the same for every objective. z stands in P
alone, so the printed form weighs class j by the sum of its row of P, whatever was predicted instead; a test holds the
two equal. The pairwise form is ours: sum over j, z of Y_ij P[j, z] (-log(1 - Y'_iz)) punishes probability given to
emotions that do not go together with the true one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from trainer.errors import InputError
from trainer.objectives.losses import ClassLoss, Loss
from trainer.params import PenaltyParams

Matrix = npt.NDArray[np.float64]
_SMALLEST = 1e-6  # 1 - probability below which the pairwise form is not followed: -log stays finite


def co_occurrence(votes: npt.NDArray[np.floating]) -> Matrix:
    """Return C (K, K): utterances for which both classes were chosen; the diagonal: chosen at all.

    Args:
        votes: (N, K) votes a class; NaN counts as none.

    >>> co_occurrence(np.array([[2, 1], [0, 3], [1, 0]])).astype(int).tolist()
    [[2, 1], [1, 2]]
    """
    chosen = (np.nan_to_num(votes) > 0).astype(np.float64)
    return chosen.T @ chosen


def penalisation_matrix(counts: Matrix) -> Matrix:
    """Return P (K, K) = 1 - C[j, z] / C[z, z], 0 on the diagonal; a class nobody chose goes together with none.

    >>> penalisation_matrix(np.array([[2.0, 1.0], [1.0, 4.0]])).tolist()
    [[0.0, 0.75], [0.5, 0.0]]
    """
    own = np.diag(counts)
    share = np.divide(counts, own[None, :], out=np.zeros_like(counts), where=own[None, :] > 0)
    matrix: Matrix = 1.0 - share
    np.fill_diagonal(matrix, 0.0)
    return matrix


def matrix_of_rows(rows: pd.DataFrame, names: tuple[str, ...]) -> Matrix:
    """Return P of the classes ``names`` from the columns votes_<class> of training rows.

    Raises InputError if a class has no such column, or if there is no vote at all.
    """
    missing = [name for name in names if f"votes_{name}" not in rows]
    if missing:
        raise InputError(
            f"finetune.penalty needs votes of every class; the shards have no column votes_{missing[0]}: use a corpus "
            "with raters' votes, or set finetune.penalty.form to none"
        )
    votes = rows[[f"votes_{name}" for name in names]].to_numpy(dtype=float)
    counts = co_occurrence(votes)
    if not counts.any():
        raise InputError("finetune.penalty: no training row has a vote")
    return penalisation_matrix(counts)


@dataclass(frozen=True)
class PenalisedLoss:
    """beta * L + alpha * L_P; both are sums of the same terms, with the same class weights, over the same total."""

    base: ClassLoss
    matrix: Tensor  # P, (K, K)
    pairwise: bool
    alpha: float
    beta: float

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Compute it of (B, K) outputs and targets of the objective; 0 with zero gradients if no row has a label."""
        each, truth, predicted, total = self.base.terms(outputs, target)
        matrix = self.matrix.to(outputs.device)
        if self.pairwise:
            penalty = (truth @ matrix) * -torch.log1p(-predicted.clamp(max=1.0 - _SMALLEST))
        else:
            penalty = each * matrix.sum(dim=1)
        return (self.beta * each.sum() + self.alpha * penalty.sum()) / total.clamp(min=1e-8)


def penalise(base: Loss, rows: pd.DataFrame, names: tuple[str, ...], options: PenaltyParams) -> Loss:
    """Return the loss of ``options``: ``base`` itself for form none.

    Args:
        base: the objective's own loss, L.
        rows: columns votes_<class> of TRAINING speakers' utterances, whether their labels are used or not.
        names: K classes.
        options: section ``finetune.penalty``.

    Raises:
        InputError: the objective has no classes, or the rows lack votes.
    """
    if options.form == "none":
        return base
    if not isinstance(base, ClassLoss):
        raise InputError("finetune.penalty is about classes, which the objective does not have: set its form to none")
    matrix = torch.from_numpy(matrix_of_rows(rows, names).astype(np.float32))
    return PenalisedLoss(base, matrix, options.form == "pairwise", options.alpha, options.beta)
