"""What a follower needs to look at fewer frames: whether a face moved, and what lies between two looks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.align import STABLE
from pipeline.faces.meshmodel import mesh_model
from pipeline.faces.tracking.scene import Face

Floats = NDArray[np.floating]
Look = Callable[[int], NDArray[np.float32] | None]

# What moves fast in a face, each of which a blink, a word or a raised brow would move as a whole.
LIDS = (159, 158, 160, 145, 144, 153, 386, 385, 387, 374, 373, 380)
MOUTH = (13, 14, 61, 291, 17, 0, 84, 314, 37, 267, 82, 312, 87, 317, 78, 308, 152)
BROWS = (107, 336, 105, 334, 70, 300, 55, 285, 52, 282)
_POINTS = np.array([*STABLE, *LIDS, *MOUTH, *BROWS])
_PARTS = np.cumsum([len(STABLE), len(LIDS), len(MOUTH)])


@cache
def _target() -> NDArray[np.complex128]:
    stable = mesh_model().canonical[list(STABLE)]
    target = stable[:, 0] - 1j * stable[:, 1]  # y down, as in the picture
    return np.asarray(target - target.mean())


def shape_of(points: Floats) -> NDArray[np.complex128]:
    """Return lids, mouth and brows (x + iy) of (478, 3) points, with the head's place, size and tilt taken out.

    A similarity in the picture plane, by least squares on the stable points; inter-ocular distances. It costs a tenth
    of the three-dimensional one, and between frames that are so close a head turns little.
    """
    flat = points[_POINTS, :2].astype(np.float64)
    z = flat[:, 0] + 1j * flat[:, 1]
    stable = z[: len(STABLE)]
    middle = stable.mean()
    away = stable - middle
    turn = np.vdot(away, _target()) / max(float(np.square(np.abs(away)).sum()), 1e-9)
    return np.asarray(turn * (z - middle))


def travel(before: NDArray[np.complex128], after: NDArray[np.complex128]) -> float:
    """Return how far the part of the face that moved most has come: mean distance, inter-ocular distances."""
    parts = np.split(np.abs(after - before), _PARTS)[1:]
    return max(float(part.mean()) for part in parts)


def looks_between(first: Floats, last: Floats, steps: int, look: Look, *, limit: float) -> set[int] | None:
    """Look between two looks wherever the face moved: halve each stretch in which it came farther than ``limit``.

    Args:
        first: (478, 3) points of frame 0.
        last: those of frame ``steps``.
        steps: frames from the first to the last.
        look: returns the points in frame 1 ... ``steps`` - 1; None: the face is not there.
        limit: inter-ocular distances.

    Returns:
        The frames that were looked at; None if the face was not found in one of them.
    """
    looked: set[int] = set()

    def halve(a: int, b: int, before: NDArray[np.complex128], after: NDArray[np.complex128]) -> bool:
        if b - a < 2 or travel(before, after) <= limit:
            return True
        middle = (a + b) // 2
        points = look(middle)
        if points is None:
            return False
        looked.add(middle)
        shape = shape_of(points)
        return halve(a, middle, before, shape) and halve(middle, b, shape, after)

    return looked if halve(0, steps, shape_of(first), shape_of(last)) else None


def fill(face: Face, time: NDArray[np.float64]) -> None:
    """Put the frames that were passed over on straight lines between the looks; ``time``: (n_frames,) s.

    Curves through the looks make every noise of a look a movement of its own (docs/faces.md).
    """
    skipped = set(face.skipped)
    looks = list(zip(face.frames, face.points, face.readings, strict=True))
    filled = looks[:1]
    for (before, a, one), (after, b, other) in pairwise(looks):
        for at in range(before + 1, after):
            if at in skipped:
                share = np.float32((time[at] - time[before]) / (time[after] - time[before]))
                between = {name: one[name] * (1 - share) + other[name] * share for name in one}
                filled.append((at, a * (1 - share) + b * share, between))
        filled.append((after, b, other))
    face.frames, face.points, face.readings = (list(column) for column in zip(*filled, strict=True))
