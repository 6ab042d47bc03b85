"""What a face backend gives for a clip: points, action units and texture of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.meshmodel import N_POINTS
from pipeline.faces.texture import REGIONS


@dataclass(frozen=True, eq=False)
class Track:
    """One face through a segment; rows of frames in which it was not found are NaN.

    Attributes:
        time: (n_frames,) s on the file's clock.
        points: (n_frames, 478, 3) float32 in pixels of the decoded picture, MediaPipe's axes.
        texture: (n_frames, n_regions) float32 (``pipeline.faces.texture``).
        blendshapes: (n_frames, 52) float32, where the backend gives them.
        aus: (n_frames, 20) float32 from the backend's own AU model, which then replaces ours.
        parted: (n_frames,) True where a frame shows another shot or face than the one before it.
        n_faces: most faces at one time.
        chosen_by: why this face and no other (``pipeline.faces.tracking.choosing``).
        talk_score: how well its mouth fits the sound, where that was looked at; else NaN.
    """

    time: NDArray[np.float64]
    points: NDArray[np.float32]
    texture: NDArray[np.float32]
    blendshapes: NDArray[np.float32] | None = None
    aus: NDArray[np.float32] | None = None
    parted: NDArray[np.bool_] | None = None
    n_faces: int = 1
    chosen_by: str = ""
    talk_score: float = float("nan")


def no_points() -> NDArray[np.float32]:
    """Return the points of a frame without a face: (478, 3) of NaN."""
    return np.full((N_POINTS, 3), np.nan, np.float32)


def no_texture() -> NDArray[np.float32]:
    """Return the texture of a frame without a face: NaN."""
    return np.full(len(REGIONS), np.nan, np.float32)


def stack(rows: list[NDArray[np.float32]], empty: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stack per-frame arrays; no frames give shape (0, ...)."""
    return np.stack(rows) if rows else np.zeros((0, *empty.shape), np.float32)
