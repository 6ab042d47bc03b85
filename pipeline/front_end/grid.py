"""Names and time grid of an acoustic column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from pipeline.errors import InputError
from pipeline.rounding import keep_bits

COLUMNS = ("lld", "logmel", "speech_model")
COMBINED = "+"  # between the names of acoustic columns that lie side by side


def _known(column: str) -> str:
    names = column.split(COMBINED)
    if not set(names) <= set(COLUMNS) or len(set(names)) != len(names):
        raise ValueError(f"must be one of {', '.join(COLUMNS)}, or several of them as lld{COMBINED}speech_model")
    return column


FeatureColumn = Annotated[str, AfterValidator(_known)]


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
        column: ``lld``, ``logmel`` or ``speech_model``; several joined by ``+``, on the grid of the first.
        sample_rate: Hz.

    Raises:
        InputError: the acoustics table lacks the column.
    """
    if COMBINED in column:
        grids = [feature_grid(acoustics, name, sample_rate) for name in column.split(COMBINED)]
        return Grid([name for grid in grids for name in grid.names], grids[0].period, grids[0].centre)
    if column == "lld":
        return Grid(acoustics["feature_names"], acoustics["frame_period"], float(acoustics["frame_size"]) / 2)
    if column not in acoustics:
        how = "acoustics.logmel to true" if column == "logmel" else "acoustics.speech_model.path"
        raise InputError(f"shards.features names {column!r}, which the acoustics table lacks: set {how}")
    described = acoustics[column]
    period = described["frame_period_samples"] / sample_rate
    if column == "logmel":  # frames are centred on k * hop
        return Grid([f"mel_{band:03d}" for band in range(described["bands"])], period, 0.0)
    centre = 0.0 if described.get("centred") else float(described["frame_size_samples"]) / 2 / sample_rate
    layers = described.get("layers", 1)
    size = described["n_features"] // layers
    prefixes = [f"{column}_{layer}" for layer in range(layers)] if layers > 1 else [column]
    return Grid([f"{prefix}_{value:04d}" for prefix in prefixes for value in range(size)], period, centre)


def combine(row: Mapping[str, Any], acoustics: dict[str, Any], column: str, sample_rate: int) -> NDArray[np.float32]:
    """Return the features of one segment: a column, or several side by side on the frames of the first.

    The frames of the others are interpolated linearly to the middles of the first's; beyond their ends they stay what
    they were last.

    Args:
        row: column to flat values.
        acoustics: metadata of the acoustics table.
        column: as for `feature_grid`.
        sample_rate: Hz.

    Returns:
        (n_frames, n_features) float32.
    """
    parts = []
    for name in column.split(COMBINED):
        grid = feature_grid(acoustics, name, sample_rate)
        parts.append((grid, np.asarray(row[name], np.float32).reshape(-1, len(grid.names))))
    first, values = parts[0]
    at = first.times(len(values))
    others = [keep_bits(_interpolated(other, grid.times(len(other)), at)) for grid, other in parts[1:]]
    return np.concatenate([values, *others], 1)


def _interpolated(
    values: NDArray[np.float32], times: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Interpolate (n, F) values at ``times`` to other times, linearly."""
    place = np.interp(at, times, np.arange(len(times)))
    before = np.minimum(place.astype(int), max(0, len(times) - 2))
    after = np.minimum(before + 1, len(times) - 1)
    share = (place - before).astype(np.float32)[:, None]
    return values[before] * (1 - share) + values[after] * share
