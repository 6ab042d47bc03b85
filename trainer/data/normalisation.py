"""Normalisation of features by training statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import FloatArray
from trainer.data.rows import speaker_keys
from trainer.data.shards import Shards
from trainer.errors import InputError

Scope = Literal["train", "speaker"]


@dataclass(frozen=True)
class Normalisation:
    """z-normalisation with fixed statistics, then clipping [code: +-3].

    ``mean`` and ``std``: (F,) float32 in feature units; ``clip`` in standard deviations. ``scope`` speaker: every row
    is normalised with the statistics of all rows that its shards hold of its speaker, test speakers included. No label
    is looked at, but a machine that hears a stranger's first sentence cannot do it: results must say so.
    """

    mean: FloatArray
    std: FloatArray
    clip: float
    scope: Scope = "train"

    @classmethod
    def fit(cls, shards: Shards, rows: npt.ArrayLike, *, clip: float, scope: Scope = "train") -> Normalisation:
        """Statistics over all frames of ``rows`` (indices of TRAINING rows) and of no others.

        Per-row means and squared deviations are merged (Chan, Golub & LeVeque 1979), which is exact and stable. A
        constant feature gets standard deviation 1, so that it becomes 0 instead of infinite.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            raise InputError("no training rows to fit the normalisation on")
        return cls(*_statistics(shards, rows), clip, scope)

    def of_rows(self, shards: Shards, rows: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation for each of ``rows``, (len(rows), F) each."""
        if self.scope == "train":
            shape = (len(rows), len(self.mean))
            return np.broadcast_to(self.mean, shape), np.broadcast_to(self.std, shape)
        _, speaker = np.unique(speaker_keys(shards.rows, unknown_is_own=True), return_inverse=True)
        used, which = np.unique(speaker[rows], return_inverse=True)
        each = [_statistics(shards, np.flatnonzero(speaker == number)) for number in used]
        return np.stack([mean for mean, _ in each])[which], np.stack([std for _, std in each])[which]

    def apply(self, frames: FloatArray, *, mean: FloatArray | None = None, std: FloatArray | None = None) -> FloatArray:
        """Normalise (..., F) in place and return it; with other statistics than the training rows' if given."""
        frames -= self.mean if mean is None else mean
        frames /= self.std if std is None else std
        return np.clip(frames, -self.clip, self.clip, out=frames)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; float32 survives the way through JSON exactly."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist(), "clip": self.clip, "scope": self.scope}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Normalisation:
        """Inverse of `to_json`."""
        mean, std = (np.array(raw[name], np.float32) for name in ("mean", "std"))
        return cls(mean, std, float(raw["clip"]), raw.get("scope", "train"))


def _statistics(shards: Shards, rows: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation over all frames of ``rows``, (F,) each."""
    n = shards.lengths[rows][:, None].astype(np.float64)
    mean = (n * shards.mean[rows]).sum(axis=0) / n.sum()
    m2 = shards.m2[rows].sum(axis=0) + (n * np.square(shards.mean[rows] - mean)).sum(axis=0)
    std = np.sqrt(m2 / n.sum())
    std[std <= 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0
    return mean.astype(np.float32), std.astype(np.float32)
