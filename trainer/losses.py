"""Losses over targets whose labels may be missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.chunking import IntArray
from trainer.data import MISSING


def balanced_weights(labels: IntArray, n_classes: int) -> Tensor:
    """Class weights N / (K n_c) over the labels that are there; 0 for a class without any.

    >>> balanced_weights(np.array([0, 0, 0, 1, -1]), 2)
    tensor([0.6667, 2.0000])
    """
    counts = np.bincount(labels[labels != MISSING], minlength=n_classes).astype(np.float64)
    weights = np.where(counts > 0, counts.sum() / (n_classes * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights.astype(np.float32))


@dataclass(frozen=True)
class CrossEntropy:
    """Class-weighted cross-entropy of one target: sum_i w_yi l_i / sum_i w_yi, over rows that have a label.

    Equals ``torch.nn.functional.cross_entropy(weight=..., reduction="mean")`` on those rows; a batch without any label
    gives 0 with finite (zero) gradients instead of NaN.
    """

    weights: Tensor  # (K,)
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """(B, K) scores and (B,) class indices (`MISSING` = none) to a scalar."""
        has = target != MISSING
        weights = self.weights.to(logits.device)
        total = functional.cross_entropy(
            logits[has], target[has], weight=weights, reduction="sum", label_smoothing=self.label_smoothing
        )
        return total / weights[target[has]].sum().clamp(min=1e-8)


@dataclass(frozen=True)
class SummedLoss:
    """L = sum over targets of weight * loss (multi-task pretraining; one target in fine-tuning)."""

    parts: Mapping[str, Callable[[Tensor, Tensor], Tensor]]
    weights: Mapping[str, float]

    def __call__(self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Scores and class indices per target to a scalar."""
        terms = [self.weights[name] * part(logits[name], targets[name]) for name, part in self.parts.items()]
        return torch.stack(terms).sum()
