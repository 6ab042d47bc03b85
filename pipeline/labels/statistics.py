"""One number a segment: how lively the energy, how active the face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d

from pipeline.labels.regions import MOUTH, REST


def energy_variation(rms_db: np.ndarray, voiced: np.ndarray, *, statistic: str = "std") -> float:
    """Return the variation of speech energy over the voiced frames, in dB (task T1; the statistic is ours).

    Args:
        rms_db: (n_frames,) RMS energy, dB.
        voiced: (n_frames,) bool.
        statistic: "std", or "mean_abs_change": mean absolute change between neighbouring voiced frames.

    >>> energy_variation(np.array([0.0, 2.0, 0.0, 2.0]), np.ones(4, bool))
    1.0
    >>> energy_variation(np.array([0.0, 2.0, -99.0, 2.0]), np.array([1, 1, 0, 1], bool), statistic="mean_abs_change")
    2.0

    """
    if statistic == "std":
        return float(np.std(rms_db[voiced], dtype=np.float64)) if voiced.any() else float("nan")
    both = voiced[1:] & voiced[:-1]
    change = np.abs(np.diff(rms_db.astype(np.float64)))[both]
    return float(change.mean()) if len(change) else float("nan")


class Activation(NamedTuple):
    """Mean landmark displacement in inter-ocular distances a second."""

    whole: float
    mouth: float
    rest: float


def facial_activation(
    landmarks: np.ndarray,
    time: np.ndarray,
    valid: np.ndarray,
    *,
    smooth: float,
    max_step: float,
    max_jump: float,
) -> Activation:
    """Return how much the aligned face moves (task T2; path length over time, ours).

    Args:
        landmarks: (n_frames, 478, 3) aligned, in inter-ocular distances; head pose and scale are already out.
        time: (n_frames,) seconds.
        valid: (n_frames,) bool; only steps between two valid frames count.
        smooth: width of a moving mean over time, s; 0 switches it off.
        max_step: longest step that counts, s.
        max_jump: a step whose median landmark moves further is a camera cut or a lost face and does not count.

    Returns:
        NaN in all three places when no step counts.

    """
    if len(time) < 2:
        return Activation(*[float("nan")] * 3)
    # Depth is the model's guess and the noisiest axis: movement is measured in the picture plane.
    points = landmarks[:, :, :2].astype(np.float64)
    step = np.diff(time)
    use = valid[1:] & valid[:-1] & (step > 0) & (step <= max_step)
    raw = np.linalg.norm(np.diff(points, axis=0), axis=2)
    use &= np.median(raw, axis=1) <= max_jump
    if not use.any():
        return Activation(*[float("nan")] * 3)
    width = max(1, round(smooth / float(np.median(step[use]))))
    if width > 1:
        points = _smooth_runs(points, use, width)
    moved = np.linalg.norm(np.diff(points, axis=0), axis=2)[use]
    duration = step[use].sum()
    regions = (slice(None), MOUTH, REST)
    return Activation(*(float(moved[:, region].mean(axis=1).sum() / duration) for region in regions))


def _smooth_runs(points: np.ndarray, use: np.ndarray, width: int) -> np.ndarray:
    """Smooth within runs of frames joined by usable steps, so that nothing leaks across a cut or a gap."""
    smoothed = points.copy()
    bounds = np.flatnonzero(~use) + 1
    for run in np.split(np.arange(len(points)), bounds):
        if len(run) > 1:
            smoothed[run] = uniform_filter1d(points[run], min(width, len(run)), axis=0, mode="nearest")
    return smoothed
