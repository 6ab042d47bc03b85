"""How well the movement of a mouth fits the sound: what distinguishes a talking face from a listening one.

The sound's band energies predict how far a mouth is open and how far the jaw is down (a linear filter over a quarter of
a second); a face is scored by the correlation of that with what it does, at the best of several delays. What other
readings gave is in docs/faces.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Quarantined

Floats = NDArray[np.floating]

RATE = 16000  # Hz, of the sound
_STEP = 0.01  # s between readings of the sound
_WINDOW = 0.04  # s, a reading's Hann window
_EDGES = (100, 400, 900, 1500, 2300, 3400, 5000, 7500)  # Hz, of seven bands; the eighth is all above 100 Hz
_RANGE = 45.0  # dB below a band's loud level (quantile .95) at which it counts as silent
_SMOOTH = 0.02  # s, standard deviation of the Gaussian over band levels
_SLOW = 0.2  # s, standard deviation of the Gaussian mean that is taken out of sound and mouth
_GRID = 0.04  # s between the mouth's readings
_TAPS = tuple(np.arange(-3, 4) * 0.04)  # s, from which the filter reads the sound round a moment
_DELAYS = np.arange(-0.08, 0.281, 0.04)  # s that the sound may be late
_PRICE = 0.1  # score that a delay of .2 s or more costs; less for less
_STILL = 0.01  # inter-ocular distances; a mouth that moves less than this (standard deviation) scores less
_MAX_GAP = 0.2  # s between frames, beyond which they are not joined
_MIN_RUN = 0.6  # s; shorter stretches are left out
_PADDING = 0.5  # s of sound wanted on either side

# Weights of (taps, bands), for the mouth's opening and for the jaw: ridge regression (.3 of the mean diagonal) on 37
# clips of one GRID speaker (docs/faces.md).
# fmt: off
_OPENING = np.array([
    [  -4,   -4,   -1,    2,   -2,   -7,   -3,   -4],
    [  -5,    1,    3,   -3,    3,    2,    1,   -2],
    [  -3,    8,    1,   -2,   11,    8,    0,   -2],
    [   2,   12,   -4,    4,   18,   12,   -4,   -2],
    [   1,    5,   -4,    5,   15,   12,   -6,   -4],
    [  -2,   -4,    3,    3,    8,   10,   -2,   -4],
    [  -8,  -12,    4,   -6,   -3,    6,    2,   -4],
])
_JAW = np.array([
    [   1,   -4,   -4,   -2,   -1,   -8,    0,    5],
    [  -6,    0,    5,   -5,    3,   -3,   -1,    2],
    [  -6,    9,    8,   -3,    6,    0,   -4,    0],
    [   1,   16,    8,    4,   11,    3,  -12,   -4],
    [   3,   10,    9,    6,   10,    5,  -14,   -6],
    [   1,   -2,   10,    3,    2,    4,  -11,   -4],
    [  -6,  -10,    9,   -4,   -4,    5,   -4,   -6],
])
# fmt: on


@dataclass(frozen=True)
class Sound:
    """The sound of a segment, decoded when it is first asked for.

    Attributes:
        start: s on the file's clock at which the samples begin.
        load: returns mono samples at ``RATE``; empty where there is no sound.
    """

    start: float
    load: Callable[[], NDArray[np.float32]]

    @cached_property
    def expected(self) -> Floats:
        """Return (n, 2): opening and jaw as the sound has them move, every ``_STEP`` s from ``start`` on."""
        return expected_motion(self.load())


def sound_of(path: str | Path, *, start: float, end: float | None) -> Sound:
    """Return the sound of a stretch of a file, and a little more; a file without any gives none."""
    begin = max(0.0, start - _PADDING)
    return Sound(begin, partial(_decode, path, begin, None if end is None else end + _PADDING))


def _decode(path: str | Path, start: float, end: float | None) -> NDArray[np.float32]:
    from pipeline.media import decode_audio

    try:
        return decode_audio(path, start=start, end=end, sample_rate=RATE)
    except Quarantined:  # without sound the choice has to go by the picture
        return np.zeros(0, np.float32)


def band_levels(samples: Floats) -> Floats:
    """Return (n, 8) levels in 10 dB every ``_STEP`` s, slow changes taken out; (0, 8) for less than a window."""
    from scipy.ndimage import gaussian_filter1d

    hop, width = round(_STEP * RATE), round(_WINDOW * RATE)
    if len(samples) < width:
        return np.zeros((0, len(_EDGES)))
    padded = np.pad(np.asarray(samples, np.float64), (width // 2, width))
    count = len(samples) // hop + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop][:count]
    power = np.square(np.abs(np.fft.rfft(windows * np.hanning(width), axis=1)))
    frequency = np.fft.rfftfreq(width, 1 / RATE)
    edges = [*pairwise(_EDGES), (_EDGES[0], RATE)]
    energy = np.stack([power[:, (frequency >= low) & (frequency < high)].sum(axis=1) for low, high in edges], axis=1)
    level = 10 * np.log10(energy + 1e-9)
    level = np.maximum(level, np.quantile(level, 0.95, axis=0) - _RANGE)
    level = gaussian_filter1d(level, _SMOOTH / _STEP, axis=0)
    return np.asarray(_without_slow(level, _STEP) / 10)


def _without_slow(values: Floats, step: float) -> Floats:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(values - gaussian_filter1d(values, _SLOW / step, axis=0, mode="nearest"))


def tapped(levels: Floats) -> Floats:
    """Return (n, 7, 8): at each moment the levels at ``_TAPS`` from it; beyond the ends those at the ends."""
    at = np.arange(len(levels))[:, None] + np.round(np.array(_TAPS) / _STEP).astype(int)
    return levels[np.clip(at, 0, max(len(levels) - 1, 0))]


def expected_motion(samples: Floats) -> Floats:
    """Return (n, 2): how opening and jaw should move with the sound, every ``_STEP`` s, in no particular unit."""
    weights = np.stack([_OPENING, _JAW])
    return np.einsum("ntb,ktb->nk", tapped(band_levels(samples)), weights)


def mouth_motion(landmarks: Floats, time: Floats) -> tuple[Floats, Floats]:
    """Return times (n,) ``_GRID`` apart and (n, 2) opening and jaw there, slow movements taken out.

    Args:
        landmarks: (n_frames, 478, 3) aligned.
        time: (n_frames,) s, rising.
    """
    opening = np.mean([_distance(landmarks, a, b) for a, b in ((13, 14), (81, 178), (311, 402))], axis=0)
    both = np.stack([opening, _distance(landmarks, 4, 152)], axis=1)  # the tip of the nose to the chin
    times, values = [np.zeros(0)], [np.zeros((0, 2))]
    for run in np.split(np.arange(len(time)), np.flatnonzero(np.diff(time) > _MAX_GAP) + 1):
        if len(run) > 1 and time[run[-1]] - time[run[0]] >= _MIN_RUN:
            grid = np.arange(time[run[0]], time[run[-1]] + 1e-9, _GRID)
            times.append(grid)
            read = np.stack([np.interp(grid, time[run], column[run]) for column in both.T], axis=1)
            values.append(_without_slow(read, _GRID))
    return np.concatenate(times), np.concatenate(values)


def _distance(landmarks: Floats, a: int, b: int) -> Floats:
    return np.asarray(np.linalg.norm(landmarks[:, a, :2] - landmarks[:, b, :2], axis=1), np.float64)


def talk_score(landmarks: Floats, time: Floats, sound: Sound) -> float:
    """Return how well a mouth fits the sound, about -1 to 1; 0 for no relation, NaN if it is not known.

    Args:
        landmarks: (n_frames, 478, 3) aligned points of the frames in which the face is seen.
        time: (n_frames,) s on the file's clock, rising.
        sound: the sound on that clock.
    """
    at, mouth = mouth_motion(landmarks, time)
    expected = sound.expected
    if len(expected) < 2 or len(at) < 2:
        return float("nan")
    clock = sound.start + np.arange(len(expected)) * _STEP
    best = -np.inf
    for delay in _DELAYS:
        predicted = np.stack([np.interp(at + delay, clock, column) for column in expected.T], axis=1)
        price = _PRICE * min(abs(delay) / 0.2, 1.0)
        best = max(best, float(np.mean([_fit(x, y) for x, y in zip(mouth.T, predicted.T, strict=True)])) - price)
    return best


def _fit(mouth: Floats, predicted: Floats) -> float:
    """Return the correlation of a movement (n,) with the predicted one, less where the mouth hardly moves."""
    mouth, predicted = mouth - mouth.mean(), predicted - predicted.mean()
    size = np.sqrt((np.square(mouth).mean() + _STILL**2) * np.square(predicted).mean())
    return float((mouth * predicted).mean() / max(float(size), 1e-12))
