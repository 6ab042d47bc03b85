"""How landmarks are stored: as the step of every coordinate since the frame before, in float16.

A face hardly moves from frame to frame, so its steps take a third of the bytes that its places take. Places are
rounded to a grid first, and steps are taken between rounded places: the sum of the steps is the rounded place, exactly,
however long the film is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, Quarantined
from pipeline.faces.meshmodel import N_POINTS

COLUMN = "landmark_steps"
GRID = 2.0**-10  # inter-ocular distances; a fifteenth of a pixel where the eyes are 66 px apart
_FARTHEST = 1024.0  # inter-ocular distances; farther out lies no point of a face


def to_steps(landmarks: NDArray[np.floating]) -> NDArray[np.float16]:
    """Return landmarks as they are stored.

    Args:
        landmarks: (n_frames, 478, 3), inter-ocular distances; NaN in frames without a face.

    Returns:
        Flat (n_frames x 478 x 3): the first frame with a face as it is, then steps from the last such frame; NaN in
        frames without one. The error of `from_steps` is at most half of `GRID`; of a step above 2 inter-ocular
        distances, which is a cut or a lost face, it is the step's 2**-11 until the next frame.

    Raises:
        Quarantined: points lie where no face has any.
    """
    found = np.isfinite(landmarks).all(axis=(1, 2))
    places = np.round(landmarks[found].astype(np.float64) / GRID) * GRID
    if len(places) and np.abs(places).max() > _FARTHEST:
        raise Quarantined(f"landmarks more than {_FARTHEST:g} inter-ocular distances away: no face")
    steps = np.full(landmarks.shape, np.nan, np.float16)
    moved, at = np.empty(places.shape, np.float16), np.zeros(landmarks.shape[1:])
    for frame, place in enumerate(places):
        moved[frame] = place - at
        at += moved[frame]  # what a reader will have, so that an inexact step is made good by the next
    steps[found] = moved
    return steps.ravel()


def from_steps(row: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the landmarks of a row of the faces table, (n_frames, 478, 3), NaN in frames without a face.

    Raises:
        InputError: the table has no such column.
    """
    if COLUMN not in row:
        raise InputError(f"the faces table has no column {COLUMN}: another version made it; make it again (dvc repro)")
    steps = np.asarray(row[COLUMN], np.float32).reshape(-1, N_POINTS, 3)
    places = np.nancumsum(steps, axis=0, dtype=np.float32)
    places[np.isnan(steps)] = np.nan
    return places
