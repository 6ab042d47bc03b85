"""One number a segment: how lively the energy, how active the face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.labels.regions import regions


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


def pearson(a: np.ndarray, b: np.ndarray, *, flat: float = float("nan")) -> float:
    """Return Pearson's r of two series; ``flat`` where one of them does not vary."""
    return flat if a.std() < 1e-9 or b.std() < 1e-9 else float(np.corrcoef(a, b)[0, 1])


GRID = 30.0  # Hz; films of every frame rate are brought to this clock before they are smoothed


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
    shot: np.ndarray | None = None,
) -> Activation:
    """Return how much the aligned face moves (task T2; path length over time, ours).

    A path is longer the more often it is looked at, and jitter adds to every look: at 12 Hz the plain path is three
    quarters of that at 25 Hz. So each run of frames is brought to one clock (linear interpolation, 30 Hz) and smoothed
    by a Gaussian in seconds, which leaves what every frame rate can show (docs/labels.md).

    Args:
        landmarks: (n_frames, 478, 3) aligned, in inter-ocular distances; head pose and scale are already out.
        time: (n_frames,) seconds.
        valid: (n_frames,) bool; only steps between two valid frames count.
        smooth: standard deviation of the Gaussian, s; 0 switches clock and smoothing off.
        max_step: longest step that counts, s.
        max_jump: a step whose median landmark moves further is a camera cut or a lost face and does not count.
        shot: (n_frames,) number of the shot; a step from one to the next does not count. None: one shot.

    Returns:
        NaN in all three places when no step counts.
    """
    if len(time) < 2:
        return Activation(*[float("nan")] * 3)
    # Depth is the model's guess and the noisiest axis: movement is measured in the picture plane.
    points = landmarks[:, :, :2].astype(np.float64)
    step = np.diff(time)
    use = valid[1:] & valid[:-1] & (step > 0) & (step <= max_step + 1e-9)
    if shot is not None:
        use &= shot[1:] == shot[:-1]
    use &= np.median(np.linalg.norm(np.diff(points, axis=0), axis=2), axis=1) <= max_jump
    moved, duration = [], 0.0
    # Runs of frames joined by usable steps: nothing is smoothed across a cut or a gap.
    for run in np.split(np.arange(len(time)), np.flatnonzero(~use) + 1):
        if len(run) > 1:
            path, seconds = _path(points[run], time[run], smooth)
            moved.append(path)
            duration += seconds
    if not moved:
        return Activation(*[float("nan")] * 3)
    total = np.sum(moved, axis=0) / duration
    return Activation(*(float(total[region].mean()) for region in (slice(None), *regions())))


def _path(points: np.ndarray, time: np.ndarray, smooth: float) -> tuple[np.ndarray, float]:
    """Return the length of every point's path (n_points,) through one run and the seconds that it took."""
    if smooth > 0:
        grid = np.arange(time[0], time[-1] + 1e-9, 1 / GRID)
        if len(grid) > 1:
            points, time = _resample(points, time, grid), grid
            points = gaussian_filter1d(points, smooth * GRID, axis=0, mode="nearest")
            # The filter sees a face standing still beyond both ends; what it slows down there is left out.
            edge = round(smooth * GRID)
            if len(grid) > 4 * edge > 0:
                points, time = points[edge:-edge], time[edge:-edge]
    return np.linalg.norm(np.diff(points, axis=0), axis=2).sum(axis=0), float(time[-1] - time[0])


def _resample(points: np.ndarray, time: np.ndarray, grid: np.ndarray) -> np.ndarray:
    after = np.clip(np.searchsorted(time, grid, side="right"), 1, len(time) - 1)
    share = ((grid - time[after - 1]) / (time[after] - time[after - 1]))[:, None, None]
    return points[after - 1] * (1 - share) + points[after] * share
