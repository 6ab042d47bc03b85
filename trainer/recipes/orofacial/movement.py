"""How well predicted movement fits: CCC, Pearson r and velocity error of coordinates over held-out frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import FloatArray
from trainer.objectives.metrics import concordance

Coordinates = dict[str, npt.NDArray[np.float64]]


def per_coordinate(predicted: FloatArray, truth: FloatArray, *, frame_period: float) -> Coordinates:
    """Measure each of K coordinates over all frames of N utterances.

    Args:
        predicted: (N, T, K) in inter-ocular distances.
        truth: likewise, NaN in frames without a face.
        frame_period: s.

    Returns:
        (K,) each, NaN without a frame: ``ccc`` and ``r`` over all frames pooled (a coordinate that the network holds
        still has r 0); ``velocity_error``, mean |difference of the velocities| between neighbouring frames with a face,
        in inter-ocular distances a second; ``still``, the same of a face that never moves; ``rmse``, root mean squared
        distance.
    """
    x, y = predicted.astype(np.float64), truth.astype(np.float64)
    valid = np.isfinite(y)
    x, y = np.where(valid, x, 0.0), np.where(valid, y, 0.0)
    over = (0, 1)
    moments = np.stack([valid.sum(over), *(v.sum(over) for v in (x, y, x * x, y * y, x * y))], axis=-1)
    n = np.maximum(moments[:, 0], 1)
    mean_x, mean_y = moments[:, 1] / n, moments[:, 2] / n
    var_x = moments[:, 3] / n - mean_x**2
    var_y = moments[:, 4] / n - mean_y**2
    spread = np.sqrt(np.maximum(var_x, 0) * np.maximum(var_y, 0))
    together = moments[:, 5] / n - mean_x * mean_y
    both = valid[:, 1:] & valid[:, :-1]
    steps = np.maximum(both.sum(over), 1)
    fast, true = np.diff(x, axis=1) / frame_period, np.diff(y, axis=1) / frame_period
    measured = {
        "ccc": concordance(moments),
        "r": np.where(spread > 1e-12, together / np.maximum(spread, 1e-12), 0.0),
        "velocity_error": np.where(both, np.abs(fast - true), 0.0).sum(over) / steps,
        "still": np.where(both, np.abs(true), 0.0).sum(over) / steps,
        "rmse": np.sqrt(np.square(x - y).sum(over) / n),
    }
    return {name: np.where(moments[:, 0] > 1, values, np.nan) for name, values in measured.items()}


def summary(measured: Coordinates, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the mean of each measure over coordinates, and of CCC over the inner lips' up and down too."""
    means = {name: float(np.nanmean(values)) for name, values in measured.items()}
    opening = np.array([name.startswith("lips_inner") and name.endswith("_y") for name in names])
    return means | ({"ccc_opening": float(np.nanmean(measured["ccc"][opening]))} if opening.any() else {})
