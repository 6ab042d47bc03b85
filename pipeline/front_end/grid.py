"""Names and time grid of an acoustic column."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError


class Grid(NamedTuple):
    """The chosen features: their names, s between their frames, s from a frame's place to the middle of its window."""

    names: list[str]
    period: float
    centre: float

    def times(self, n_frames: int) -> NDArray[np.float64]:
        """Return the middles of the frames, (n_frames,) s from the segment's start."""
        return np.arange(n_frames) * self.period + self.centre


def feature_grid(acoustics: dict[str, Any], column: str, sample_rate: int) -> Grid:
    """Return names and time grid of an acoustic column.

    Args:
        acoustics: metadata of the acoustics table.
        column: ``lld``, ``logmel`` or ``speech_model``.
        sample_rate: Hz.

    Raises:
        InputError: the acoustics table lacks the column.
    """
    if column == "lld":
        return Grid(acoustics["feature_names"], acoustics["frame_period"], float(acoustics["frame_size"]) / 2)
    if column not in acoustics:
        how = "acoustics.logmel to true" if column == "logmel" else "acoustics.speech_model.path"
        raise InputError(f"shards.features is {column!r}, which the acoustics table lacks: set {how}")
    described = acoustics[column]
    period = described["frame_period_samples"] / sample_rate
    if column == "logmel":  # frames are centred on k * hop
        return Grid([f"mel_{band:03d}" for band in range(described["bands"])], period, 0.0)
    names = [f"{column}_{value:04d}" for value in range(described["n_features"])]
    return Grid(names, period, float(described["frame_size_samples"]) / 2 / sample_rate)
