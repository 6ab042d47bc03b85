"""From the 68 landmarks of dlib's layout to the 478 points of the mesh."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.meshmodel import mesh_model

Floats = NDArray[np.floating]

# Mesh points of the 68 landmarks of dlib's layout (py-feat: DLIB68_FROM_MP478).
# fmt: off
DLIB68 = (127, 234, 93, 132, 58, 172, 136, 150, 176, 148, 152, 377, 400, 379, 365, 397, 356, 70, 63, 105, 66, 107,
          336, 296, 334, 293, 300, 168, 6, 195, 4, 240, 75, 1, 305, 460, 33, 160, 158, 133, 153, 144, 362, 385, 387,
          263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)
# fmt: on


def dense_points(landmarks: Floats) -> NDArray[np.float32]:
    """Return 478 mesh points (n, 478, 3) that pass through 68 landmarks (n, 68, 2) in pixels, MediaPipe's axes.

    The canonical face is put in the pose that fits best under a scaled orthographic camera (DeMenthon & Davis, IJCV
    15, 1995: one POS step), then bent onto the landmarks by a thin-plate spline in the picture plane. Depth is
    that of the posed canonical face. (The combination is ours.)
    """
    canonical = mesh_model().canonical * [1.0, -1.0, -1.0]
    sparse = canonical[list(DLIB68)]
    landmarks = np.asarray(landmarks, np.float64)
    centre, middle = sparse.mean(axis=0), landmarks.mean(axis=1)
    solver = np.linalg.pinv(sparse - centre)  # (3, 68)
    rows = np.einsum("ij,njk->nki", solver, landmarks - middle[:, None])  # (n, 2, 3)
    scale = np.sqrt(np.linalg.norm(rows[:, 0], axis=1) * np.linalg.norm(rows[:, 1], axis=1))
    u, _, vt = np.linalg.svd(rows, full_matrices=False)
    two = u @ vt
    rotation = np.concatenate([two, np.cross(two[:, 0], two[:, 1])[:, None]], axis=1)
    posed = scale[:, None, None] * np.einsum("nij,pj->npi", rotation, canonical - centre)
    posed[:, :, :2] += middle[:, None]
    bend = landmarks - posed[:, list(DLIB68), :2]
    posed[:, :, :2] += np.einsum("ps,nsk->npk", _spline(), bend)
    return posed.astype(np.float32)


@cache
def _spline() -> Floats:
    """Return (478, 68): how the 68 points' displacements spread over the mesh (thin plate, linear in them)."""
    from scipy.interpolate import RBFInterpolator

    face = mesh_model().canonical[:, :2]
    sites = face[list(DLIB68)]
    weights: Floats = RBFInterpolator(sites, np.eye(len(sites)), kernel="thin_plate_spline")(face)
    return weights
