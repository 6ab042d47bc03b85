"""Losses over targets whose labels may be missing: -1 as a class index, NaN as a number. All return a scalar."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.data.arrays import IntArray
from trainer.data.rows import MISSING
from trainer.data.tracks import VECTORS
from trainer.objectives.metrics import ccc

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs and targets of a batch to a scalar
TotalLoss = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]  # the same of all heads, by name


def balanced_weights(labels: IntArray, n_classes: int, *, most: float = np.inf) -> Tensor:
    """Class weights N / (K n_c) over the labels that are there, at most ``most``; 0 for a class without any.

    Without a limit a class of one segment among 330 in seven weighs 47, and a few segments make the loss [ours].

    >>> balanced_weights(np.array([0, 0, 0, 1, -1]), 2)
    tensor([0.6667, 2.0000])
    >>> balanced_weights(np.array([0, 0, 0, 1, -1]), 2, most=1.5)
    tensor([0.6667, 1.5000])
    """
    counts = np.bincount(labels[labels != MISSING], minlength=n_classes).astype(np.float64)
    weights = np.where(counts > 0, counts.sum() / (n_classes * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(np.minimum(weights, most).astype(np.float32))


class Terms(NamedTuple):
    """What a loss over classes is the sum of, of the rows that have a label: the loss is ``each.sum() / total``."""

    each: Tensor  # (N, K) what a class of a row adds
    truth: Tensor  # (N, K) share of the class, times its weight
    predicted: Tensor  # (N, K) probabilities
    total: Tensor  # () what is divided by


class ClassLoss(ABC):
    """A loss over classes whose terms another loss may weigh anew (`trainer.objectives.penalty`)."""

    @abstractmethod
    def terms(self, outputs: Tensor, target: Tensor) -> Terms:
        """Return the terms of (B, K) outputs and targets."""

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of (B, K) outputs and targets; 0 with zero gradients if no row has a label."""
        terms = self.terms(outputs, target)
        return terms.each.sum() / terms.total.clamp(min=1e-8)


@dataclass(frozen=True)
class CrossEntropy(ClassLoss):
    """Class-weighted cross-entropy of one target: sum_i w_yi l_i / sum_i w_yi, over rows that have a label.

    Equals ``torch.nn.functional.cross_entropy(weight=..., reduction="mean")`` on those rows; a batch without any label
    gives 0 with finite (zero) gradients instead of NaN. Targets: (B,) class indices, `MISSING` = none.
    """

    weights: Tensor  # (K,)
    label_smoothing: float = 0.0

    def terms(self, outputs: Tensor, target: Tensor) -> Terms:
        """Return the terms; the total is the weight of the true classes, also where labels are smoothed."""
        has, size = target != MISSING, outputs.shape[1]
        weights = self.weights.to(outputs.device)
        shares = functional.one_hot(target[has], size).to(outputs.dtype)
        shares = shares * (1.0 - self.label_smoothing) + self.label_smoothing / size
        log_q = functional.log_softmax(outputs[has], dim=1)
        truth = weights * shares
        return Terms(-truth * log_q, truth, log_q.exp(), weights[target[has]].sum())


@dataclass(frozen=True)
class SoftCrossEntropy:
    """Class-weighted cross-entropy of shares: - sum_ik w_k t_ik log q_ik / sum_ik w_k t_ik.

    What a row's shares add up to is its own weight; of rows with one class alone it is `CrossEntropy`.
    """

    weights: Tensor  # (K,)

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute it of (B, K) logits and (B, K) shares, or (B,) class indices (`MISSING` = none)."""
        if target.dim() == 1:
            known = functional.one_hot(target.clamp(min=0), logits.shape[1]) * (target != MISSING).unsqueeze(1)
            target = known.to(logits.dtype)
        weighted = self.weights.to(logits.device) * target
        log_q = functional.log_softmax(logits, dim=1)
        return -(weighted * log_q).sum() / weighted.sum().clamp(min=1e-8)


@dataclass(frozen=True)
class DistributionLoss(ClassLoss):
    """KL(p || q) of the raters' distribution p and the network's q, mean over rows that have one.

    Soft cross-entropy less the entropy of p, which no gradient sees: 0 means that q equals p. Classes are not weighted:
    weights would change the distribution that is learnt. With label smoothing s, p is (1 - s) p + s / K. Targets:
    (B, K) shares, a NaN in a row: no label.
    """

    label_smoothing: float = 0.0

    def terms(self, outputs: Tensor, target: Tensor) -> Terms:
        """Return the terms; the total is the number of rows."""
        has = ~target.isnan().any(dim=1)
        shares = target[has] * (1.0 - self.label_smoothing) + self.label_smoothing / outputs.shape[1]
        log_q = functional.log_softmax(outputs[has], dim=1)
        return Terms(functional.kl_div(log_q, shares, reduction="none"), shares, log_q.exp(), has.sum())


@dataclass(frozen=True)
class MultiLabelLoss(ClassLoss):
    """Binary cross-entropy of every class, mean over classes and over rows that have labels; unweighted.

    Targets: (B, K) of 0 and 1, a NaN in a row: no label.
    """

    def terms(self, outputs: Tensor, target: Tensor) -> Terms:
        """Return the terms; the total is the number of rows times that of classes."""
        has = ~target.isnan().any(dim=1)
        each = functional.binary_cross_entropy_with_logits(outputs[has], target[has], reduction="none")
        return Terms(each, target[has], torch.sigmoid(outputs[has]), has.sum() * outputs.shape[1])


@dataclass(frozen=True)
class ConcordanceLoss:
    """1 - CCC of every attribute over the rows of the batch that have it, mean over attributes [code: Lin & Busso].

    The network predicts standard deviations from the training mean; as CCC does not change when both sides are scaled
    alike, the loss is the one in the corpus's own scale. An attribute with fewer than two values in the batch has no
    CCC and is left out.
    """

    mean: Tensor  # (A,) of the training rows
    std: Tensor  # (A,)
    epsilon: float = 1e-8  # both sides constant and equal is 0 / 0; it counts as no concordance

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Compute it of (B, A) outputs and (B, A) values in the corpus's scale (NaN: none)."""
        y = (target - self.mean.to(target.device)) / self.std.to(target.device)
        terms = [outputs.sum() * 0.0]  # a batch without any value has zero gradients, not none
        for number in range(outputs.shape[1]):
            has = ~y[:, number].isnan()
            if int(has.sum()) > 1:
                terms.append(1.0 - self._of_attribute(outputs[has, number], y[has, number]))
        return torch.stack(terms).sum() / max(1, len(terms) - 1)

    def _of_attribute(self, x: Tensor, y: Tensor) -> Tensor:
        dx, dy = x - x.mean(), y - y.mean()
        variances = dx.square().mean() + dy.square().mean()
        return ccc((dx * dy).mean(), variances, x.mean() - y.mean(), epsilon=self.epsilon)


@dataclass(frozen=True)
class SummedLoss:
    """L = sum over targets of weight * loss (multi-task pretraining; one target in fine-tuning).

    A data set without a target (a held-out one that measures the main task alone) adds nothing for it.
    """

    parts: Mapping[str, Loss]
    weights: Mapping[str, float]

    def __call__(self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Compute it of outputs and labels per target."""
        parts = {name: part for name, part in self.parts.items() if name in targets}
        terms = [self.weights[name] * part(logits[name], targets[name]) for name, part in parts.items()]
        return torch.stack(terms).sum()


@dataclass(frozen=True)
class TrackLoss:
    """Loss of a frame head: per track over the frames that have a target, then the mean over tracks.

    ``kind``: ``smooth_l1`` or ``mse`` in the targets' standard deviations, or ``ccc``: 1 - CCC over the frames of the
    batch, which does not reward a prediction of the mean.
    """

    kind: str = "smooth_l1"

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Compute it of (B, nC, L, K) each, NaN in either where there is no target; 0 if there is none at all."""
        has = torch.isfinite(target) & torch.isfinite(predicted.detach())
        # where() on both sides: a NaN that is multiplied by 0 would still reach the gradients
        x, y = torch.where(has, predicted, 0.0).flatten(0, -2), torch.where(has, target, 0.0).flatten(0, -2)
        use = has.flatten(0, -2).to(x.dtype)
        count = use.sum(dim=0)
        measured, n = count > 1, count.clamp(min=1)
        if not bool(measured.any()):
            return x.sum() * 0.0
        if self.kind in ("smooth_l1", "mse"):
            distance = functional.smooth_l1_loss if self.kind == "smooth_l1" else functional.mse_loss
            per_track = distance(x, y, reduction="none").sum(dim=0) / n
        else:
            mean_x, mean_y = x.sum(dim=0) / n, y.sum(dim=0) / n
            dx, dy = (x - mean_x) * use, (y - mean_y) * use
            variances = (dx.square() + dy.square()).sum(dim=0) / n
            per_track = 1 - ccc((dx * dy).sum(dim=0) / n, variances, mean_x - mean_y, epsilon=1e-6)
        return per_track[measured].mean()


def variance_loss(z: Tensor) -> Tensor:
    """Hinge on every unit's deviation plus squared covariances between units (Bardes et al. 2022, VICReg); (B, H)."""
    if len(z) < 2:
        return z.sum() * 0.0
    centred = z - z.mean(dim=0)
    deviation = (centred.square().sum(dim=0) / (len(z) - 1) + 1e-4).sqrt()
    covariance = centred.T @ centred / (len(z) - 1)
    between = (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]
    return functional.relu(1 - deviation).mean() + 0.04 * between


@dataclass(frozen=True)
class GuardedLoss:
    """Another loss plus ``variance`` times `variance_loss` of the utterance vectors."""

    base: TotalLoss
    variance: float

    def __call__(self, scores: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Compute it of outputs and targets by name."""
        value = self.base(scores, targets)
        return value + self.variance * variance_loss(scores[VECTORS]) if self.variance else value
