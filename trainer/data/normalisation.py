"""Normalisation of features: by statistics of training rows, of a speaker, or of an utterance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainer.data.arrays import FloatArray, IntArray
from trainer.data.memory_map import moments
from trainer.data.shards import Shards
from trainer.errors import InputError

Scope = Literal["train", "speaker", "utterance"]


@dataclass(frozen=True)
class Normalisation:
    """z-normalisation, then clipping [code: +-3].

    With ``scope`` speaker every row is normalised with the statistics of all rows that its shards hold of its speaker,
    test speakers included. No label is used, but it cannot be done on the first sentence of a new speaker: results must
    name it. With ``scope`` utterance every row is normalised with its own statistics, which takes away how loud and how
    high it is as a whole, and with it much of the room and the microphone.
    """

    mean: FloatArray  # (F,), in feature units
    std: FloatArray  # (F,)
    clip: float  # standard deviations
    scope: Scope = "train"

    @classmethod
    def fit(cls, shards: Shards, rows: npt.ArrayLike, *, clip: float, scope: Scope = "train") -> Normalisation:
        """Statistics over all frames of ``rows`` (indices of TRAINING rows) and of no others.

        Per-row means and squared deviations are merged (Chan, Golub & LeVeque 1979), which is exact and stable. Raises
        InputError without rows.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            raise InputError("no training rows to fit the normalisation on")
        return cls(*_statistics(shards, rows), clip, scope)

    def of_rows(
        self, shards: Shards, rows: IntArray, *, part: tuple[IntArray, IntArray] | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation for each of N rows, (N, F) each.

        Args:
            shards: that hold the rows.
            rows: (N,) indices.
            part: first frame and number of frames of each row, (N,) each, where less than the utterance is there: with
                ``scope`` utterance the rest is not looked at.
        """
        if self.scope == "train" or not len(rows):
            shape = (len(rows), len(self.mean))
            return np.broadcast_to(self.mean, shape), np.broadcast_to(self.std, shape)
        if self.scope == "utterance":
            mean, m2, count = shards.mean[rows], shards.m2[rows], shards.lengths[rows]
            if part is not None:
                first, count = part
                starts = shards.offsets[rows] + first
                spans = [shards.features[start : start + n] for start, n in zip(starts, count, strict=True)]
                mean, m2 = (np.stack(values) for values in zip(*map(moments, spans), strict=True))
            return mean.astype(np.float32), _deviation(m2 / count[:, None], mean)
        used, which = np.unique(shards.speakers[rows], return_inverse=True)
        places = pd.Index(used).get_indexer(pd.Index(shards.speakers))
        order = np.argsort(places, kind="stable")  # rows of one speaker side by side, those of others in front
        ends = np.searchsorted(places[order], np.arange(len(used) + 1))
        each = [_statistics(shards, order[start:stop]) for start, stop in pairwise(ends)]
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


def _statistics(shards: Shards, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation over all frames of ``rows``, (F,) each."""
    n = shards.lengths[rows][:, None].astype(np.float64)
    mean = (n * shards.mean[rows]).sum(axis=0) / n.sum()
    m2 = shards.m2[rows].sum(axis=0) + (n * np.square(shards.mean[rows] - mean)).sum(axis=0)
    return mean.astype(np.float32), _deviation(m2 / n.sum(), mean)


def _deviation(variance: npt.NDArray[np.float64], mean: npt.NDArray[np.float64]) -> FloatArray:
    """Return the root of the variance; of a feature that is constant 1, so that it becomes 0 instead of infinite."""
    std = np.sqrt(variance)
    std[std <= 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0
    return std.astype(np.float32)
