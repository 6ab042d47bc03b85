"""Attributes such as arousal or intensity, trained and measured by CCC."""

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
from trainer.data.rows import Target
from trainer.errors import InputError
from trainer.objectives.base import Objective
from trainer.objectives.losses import ConcordanceLoss, Loss
from trainer.objectives.metrics import Array, Measures, concordance
from trainer.params import FinetuneParams


@dataclass(frozen=True)
class Attribute(Objective):
    """Numbers such as arousal, several joined by "+" in ``finetune.target``; loss 1 - CCC, mean over them.

    ``mean`` and ``std`` of the training rows bring the network's outputs into the corpus's scale.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse scales of another length than the names, but none at all."""
        fits = len(self.names) == len(self.mean) == len(self.std) and all(std > 0 for std in self.std)
        if (self.mean or self.std) and not fits:
            raise ValueError("an attribute needs one mean and one std above 0 each")

    kind = "attribute"
    score = "ccc"
    is_classes = False

    @property
    def shown(self) -> tuple[str, ...]:
        return ("ccc", *(f"ccc_{name}" for name in self.names if len(self.names) > 1))

    @classmethod
    def plan(cls, rows: pd.DataFrame, options: FinetuneParams) -> Self:
        names = [name.strip() for name in options.target.split("+")]
        for name in names:
            if name not in rows or not pd.api.types.is_numeric_dtype(rows[name]):
                return cls(())
            if rows[name].nunique() == 1:
                raise InputError(f"{name} (finetune.target) is the same for every utterance")
        return cls(tuple(names) if all(rows[name].notna().any() for name in names) else ())

    def encode(self, rows: pd.DataFrame, target: str) -> Target:
        return rows[list(self.names)].to_numpy(dtype=np.float32)

    def fitted(self, truth: Target) -> Self:
        mean, std = np.nanmean(truth, axis=0), np.nanstd(truth, axis=0)
        return replace(self, mean=tuple(map(float, mean)), std=tuple(map(float, np.where(std > 0, std, 1.0))))

    def loss(self, truth: Target, *, label_smoothing: float, balanced: bool = True) -> Loss:
        return ConcordanceLoss(torch.tensor(self.mean), torch.tensor(self.std))

    def predict(self, outputs: Tensor) -> npt.NDArray[np.float32]:
        return (outputs * torch.tensor(self.std) + torch.tensor(self.mean)).numpy()

    def labelled(self, truth: Target) -> BoolArray:
        return ~np.isnan(truth).all(axis=1)

    def strata(self, truth: Target) -> IntArray:
        return np.zeros(len(truth), dtype=np.int64)

    def sums(self, truth: Target, predicted: Array) -> Array:
        centre = np.nan_to_num(np.nanmean(truth, axis=0, dtype=np.float64))  # squares of large numbers lose digits
        x, y = predicted.astype(float) - centre, truth.astype(float) - centre
        moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
        moments[np.isnan(y)] = 0.0
        return moments.reshape(len(truth), -1)

    def measures(self, sums: Array) -> Measures:
        each = concordance(sums.reshape(*sums.shape[:-1], len(self.names), 6))
        per_attribute = {f"ccc_{name}": each[..., number] for number, name in enumerate(self.names)}
        there = np.isfinite(each)
        mean = np.where(there, each, 0.0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
        values = {"ccc": mean, **per_attribute}
        return {**{name: values[name] for name in self.shown}, "chance": np.zeros(each.shape[:-1])}

    def rule(self, stated: str) -> str:
        return "intended strength" if self.names == ("intensity",) else "mean rating"

    def source(self, stated: str) -> str:
        # every corpus reader's intensity is the one the actor was asked for, also where emotions were voted on
        return "acted" if self.names == ("intensity",) else stated
