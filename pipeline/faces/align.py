"""Take head pose, position and scale out of face points, and say how far a frame can be trusted.

A 3-D similarity (Umeyama, IEEE PAMI 13(4), 1991, eq. 40-43) maps each frame's stable points onto the canonical face.
MediaPipe's z is in the units of x, so three dimensions cost nothing more and also take moderate yaw and pitch out. What
other alignments gave is in docs/faces.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.config import FacesConfig
from pipeline.faces.meshmodel import OUTER_EYES, mesh_model

Floats = NDArray[np.floating]

# Eye corners, nose bridge and tip, temples and the skin before the ears: no facial muscle moves them much.
STABLE = (33, 263, 133, 362, 168, 6, 197, 195, 5, 4, 1, 234, 454, 127, 356)
ROUNDING = 2.0**-13  # inter-ocular distances; a fiftieth of the tracker's own noise, and it compresses well
MAX_RESIDUAL = 0.12  # inter-ocular distances rms at the stable points; real faces lie below .09, false ones above


def umeyama(source: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the similarities that map point sets onto one target in the least-squares sense.

    Args:
        source: (n_frames, n_points, d).
        target: (n_points, d).

    Returns:
        scale (n_frames,), rotation (n_frames, d, d), translation (n_frames, d) with target ~ s R p + t; R is a proper
        rotation, never a reflection (Umeyama 1991, eq. 43).

    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> s, R, t = umeyama(square[None] * 2 + 3, square)
    >>> float(s[0].round(6)), R[0].round(6).tolist(), t[0].round(6).tolist()
    (0.5, [[1.0, 0.0], [0.0, 1.0]], [-1.5, -1.5])
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    middle, goal = source.mean(axis=1), target.mean(axis=0)
    x, y = source - middle[:, None], target - goal
    covariance = np.einsum("ni,tnj->tij", y, x) / len(target)
    u, d, vt = np.linalg.svd(covariance)
    sign = np.ones_like(d)
    sign[:, -1] = np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1.0, 1.0)
    rotation = np.einsum("tij,tj,tjk->tik", u, sign, vt)
    variance = np.square(x).sum(axis=(1, 2)) / len(target)
    scale = (d * sign).sum(axis=1) / np.maximum(variance, 1e-12)
    return scale, rotation, goal - scale[:, None] * np.einsum("tij,tj->ti", rotation, middle)


@dataclass(frozen=True, eq=False)
class Aligned:
    """Frames with pose and scale taken out; rows of frames without a face are NaN.

    Attributes:
        landmarks: (n_frames, 478, 3), inter-ocular distances of the canonical face; x to the right of the picture, y
            up, z towards the viewer, origin midway between the outer eye corners.
        pose: (n_frames, 3) pitch, yaw, roll of the head in degrees (see ``euler``).
        interocular: (n_frames,) distance of the outer eye corners in picture pixels, foreshortening undone.
        residual: (n_frames,) rms distance of the stable points from the canonical ones.
    """

    landmarks: NDArray[np.float32]
    pose: NDArray[np.float32]
    interocular: NDArray[np.float32]
    residual: NDArray[np.float32]


def align(points: Floats) -> Aligned:
    """Align picture points to the canonical face.

    Args:
        points: (n_frames, 478, 3) in pixels as MediaPipe gives them: x right, y down, z away from the viewer.
            Frames whose first point is NaN have no face.
    """
    canonical = mesh_model().canonical
    found = np.isfinite(points[:, 0, 0])
    stable = list(STABLE)
    upright = points[found].astype(np.float64) * [1.0, -1.0, -1.0]
    scale, rotation, shift = umeyama(upright[:, stable], canonical[stable])
    moved = scale[:, None, None] * np.einsum("tij,tnj->tni", rotation, upright) + shift[:, None]
    eyes = upright[:, OUTER_EYES[0]] - upright[:, OUTER_EYES[1]]
    residual = np.sqrt(np.square(moved[:, stable] - canonical[stable]).sum(axis=2).mean(axis=1))
    spread = partial(_spread, found=found)
    return Aligned(
        landmarks=spread(np.round(moved / ROUNDING) * ROUNDING),
        # The fit rotates the picture to the canonical face; the head's own rotation is the inverse.
        pose=spread(euler(rotation.transpose(0, 2, 1))),
        interocular=spread(np.linalg.norm(eyes, axis=1)),
        residual=spread(residual),
    )


def _spread(values: Floats, found: NDArray[np.bool_]) -> NDArray[np.float32]:
    full = np.full((len(found), *values.shape[1:]), np.nan, np.float32)
    full[found] = values
    return full


def euler(rotation: Floats) -> Floats:
    """Return (n, 3) pitch, yaw, roll in degrees of head rotations (n, 3, 3), applied as Ry(-yaw) Rx(-pitch) Rz(roll).

    Signs are py-feat's: pitch > 0 looks up, yaw > 0 turns and roll > 0 tilts to the subject's right.

    >>> euler(np.eye(3)[None]).round(3).tolist()
    [[0.0, 0.0, 0.0]]
    """
    pitch = np.arcsin(np.clip(rotation[:, 1, 2], -1.0, 1.0))
    yaw = -np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1])
    return np.degrees(np.stack([pitch, yaw, roll], axis=1)) + 0.0  # no minus zero


def quality(aligned: Aligned, time: Floats, config: FacesConfig) -> NDArray[np.float32]:
    """Return how far each frame can be trusted, 0 to 1: the least of size, pose, steadiness and shape (ours).

    MediaPipe's own score is not in its output. Size: pixels between the eyes. Pose: yaw and pitch. Steadiness:
    acceleration of the aligned points, in which real motion is slow and a failing tracker is not. Shape: misfit of
    the stable points. How far each tells good clips from bad ones is in docs/faces.md.
    """
    with np.errstate(invalid="ignore"):
        size = _ramp(aligned.interocular, config.min_interocular, config.good_interocular)
        angle = np.abs(aligned.pose[:, :2]).max(axis=1)
        turned = _ramp(-angle, -config.max_angle, -config.good_angle)
        steady = _ramp(-_acceleration(aligned.landmarks, time), -config.max_jitter, -config.max_jitter / 4)
        shape = _ramp(-aligned.residual, -MAX_RESIDUAL, -MAX_RESIDUAL * 0.75)
    return np.nan_to_num(np.minimum.reduce([size, turned, steady, shape])).astype(np.float32)


def _ramp(values: Floats, low: float, high: float) -> Floats:
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _acceleration(landmarks: Floats, time: Floats) -> Floats:
    """Return the points' median departure from the straight line between their neighbours in time (x and y)."""
    result = np.zeros(len(landmarks))
    if len(landmarks) > 2:
        step = np.diff(time)
        share = (step[:-1] / np.maximum(step[:-1] + step[1:], 1e-9))[:, None, None]
        flat = landmarks[:, :, :2].astype(np.float64)
        middle = flat[:-2] * (1 - share) + flat[2:] * share
        inner = np.median(np.linalg.norm(flat[1:-1] - middle, axis=2), axis=1) * 2
        # NaN where a neighbour is missing: nothing known against the frame.
        result[1:-1] = np.nan_to_num(inner)
    return result
