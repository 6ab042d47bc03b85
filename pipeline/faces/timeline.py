"""Where a track is whole: camera cuts, short gaps that are bridged, and runs of frames that belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import dist, hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from pipeline.faces.meshmodel import OUTER_EYES
from pipeline.faces.track import Track

# A face that moves by its own inter-ocular distance, or grows or shrinks by half, from one frame to the next has not
# moved: the camera was cut, or the tracker went over to another face. (Ours; real heads reach a tenth of it.)
CUT_SHIFT = 1.0
CUT_SCALE = 1.5
MIN_SHOT = 4.0  # s

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Timeline:
    """Which frames may be used together.

    Attributes:
        time: (n_frames,) s.
        runs: index arrays of usable frames without cut or long gap between them: what may be smoothed.
        shot: (n_frames,) number of the shot; light and person are the same within one.
    """

    time: NDArray[np.float64]
    runs: list[NDArray[np.intp]]
    shot: NDArray[np.intp]

    @property
    def used(self) -> NDArray[np.intp]:
        """Return the indices of all frames in runs, in order."""
        return np.concatenate(self.runs) if self.runs else np.zeros(0, np.intp)


def cuts(points: Floats, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n_frames,) True where a found frame shows another shot or face than the found frame before it.

    Args:
        points: (n_frames, 478, 3) pixels.
        found: (n_frames,) whether there is a face.
    """
    result = np.zeros(len(found), bool)
    at = np.flatnonzero(found)
    if len(at) > 1:
        eyes = points[at][:, list(OUTER_EYES)].astype(np.float64)
        middle = eyes.mean(axis=1)[:, :2]
        size = np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)
        small, large = np.maximum(np.minimum(size[1:], size[:-1]), 1e-6), np.maximum(size[1:], size[:-1])
        shift = np.linalg.norm(np.diff(middle, axis=0), axis=1)
        result[at[1:]] = (shift > CUT_SHIFT * small) | (large > CUT_SCALE * small)
    return result


def same_face(before: Floats, after: Floats) -> bool:
    """Tell whether (478, 3) points in one frame and the next can be one face in one shot (for one frame at a time)."""
    (a, b), (c, d) = before[list(OUTER_EYES)].tolist(), after[list(OUTER_EYES)].tolist()
    shift = hypot(a[0] + b[0] - c[0] - d[0], a[1] + b[1] - c[1] - d[1]) / 2
    sizes = dist(a, b), dist(c, d)
    small = max(min(sizes), 1e-6)
    return shift <= CUT_SHIFT * small and max(sizes) <= CUT_SCALE * small


def all_cuts(track: Track, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n_frames,) True where another shot or face begins: what the backend says, and what ``cuts`` finds."""
    jumped = cuts(track.points, found)
    return jumped if track.parted is None else jumped | track.parted


def bridge(track: Track, *, max_gap: float) -> tuple[Track, NDArray[np.bool_]]:
    """Interpolate gaps shorter than ``max_gap`` s between two frames of the same shot.

    Returns:
        The track with the gaps filled, and (n_frames,) True for the frames that were filled in.
    """
    found = np.isfinite(track.points[:, 0, 0])
    shot = np.cumsum(all_cuts(track, found))
    at = np.flatnonzero(found)
    filled = np.zeros(len(found), bool)
    for before, after in pairwise(at):
        if (
            after - before > 1
            and shot[after] == shot[before]
            and track.time[after] - track.time[before] <= max_gap + 1e-9
        ):
            filled[before + 1 : after] = True
    if not filled.any():
        return track, filled
    known = np.flatnonzero(found)

    def fill(values: Any) -> Any:
        if values is None:
            return None
        flat = values.reshape(len(values), -1).copy()
        right = np.searchsorted(known, np.flatnonzero(filled))
        low, high = known[right - 1], known[right]
        share = ((track.time[filled] - track.time[low]) / (track.time[high] - track.time[low]))[:, None]
        flat[filled] = flat[low] * (1 - share) + flat[high] * share
        return flat.reshape(values.shape)

    names = ("points", "texture", "blendshapes", "aus")
    return replace(track, **{name: fill(getattr(track, name)) for name in names}), filled


def timeline(time: Floats, usable: NDArray[np.bool_], cut: NDArray[np.bool_], *, max_gap: float) -> Timeline:
    """Return the timeline of frames that are usable, parted at cuts and at gaps longer than ``max_gap`` s.

    >>> time = np.arange(6) / 25
    >>> line = timeline(time, np.array([1, 1, 0, 1, 1, 1], bool), np.arange(6) == 4, max_gap=0.05)
    >>> [list(map(int, run)) for run in line.runs], line.shot.tolist()
    ([[0, 1], [3], [4, 5]], [0, 0, 0, 0, 1, 1])
    """
    shot = np.cumsum(cut, dtype=np.intp)  # a cut that falls on an unusable frame still parts its neighbours
    at = np.flatnonzero(usable)
    parted = (np.diff(time[at]) > max_gap + 1e-9) | (np.diff(shot[at]) > 0)
    found = list(np.split(at, np.flatnonzero(parted) + 1)) if len(at) else []
    return Timeline(np.asarray(time, np.float64), found, shot)


def _width(time: Floats, run: NDArray[np.intp], seconds: float) -> float:
    return seconds / max(float(np.median(np.diff(time[run]))), 1e-3)


def smooth(values: Floats, line: Timeline, *, sigma: float) -> Floats:
    """Return ``values`` (n_frames, ...) under a Gaussian of ``sigma`` s within each run; other frames unchanged."""
    result = values.copy()
    for run in line.runs:
        if sigma > 0 and len(run) > 1:
            result[run] = gaussian_filter1d(values[run], _width(line.time, run, sigma), axis=0, mode="nearest")
    return result


def running_median(values: Floats, line: Timeline, *, seconds: float) -> Floats:
    """Return the moving median of ``values`` (n_frames,) over ``seconds`` within each run."""
    result = values.copy()
    for run in line.runs:
        if len(run) > 2:
            width = min(int(_width(line.time, run, seconds)) | 1, 2 * len(run) - 1)
            result[run] = median_filter(values[run], width, mode="nearest")
    return result


def from_shot_median(values: Floats, line: Timeline) -> Floats:
    """Return ``values`` (n_frames,) less the median over the used frames of their shot; NaN outside the runs.

    A shot shorter than ``MIN_SHOT`` has no typical value of its own: the median of all shots stands for it.
    """
    result = np.full(len(values), np.nan)
    used = line.used
    for shot in np.unique(line.shot[used]):
        own = used[line.shot[used] == shot]
        long = line.time[own[-1]] - line.time[own[0]] >= MIN_SHOT
        result[own] = values[own] - np.median(values[own if long else used])
    return result
