"""Which of the 478 mesh points belong to the articulating lower face and which do not."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.meshmodel import mesh_model

SUBNASALE = 2  # mesh point where the nose meets the upper lip


class Regions(NamedTuple):
    """Mesh points of the two parts of a face.

    Attributes:
        mouth: all that lies below the nose: lips, chin and jaw move together in speech.
        rest: what the mouth does not move by itself: nose, cheeks, eyes, brows, forehead.
    """

    mouth: NDArray[np.intp]
    rest: NDArray[np.intp]


@cache
def regions() -> Regions:
    """Return the two parts, found once a process: most commands need no face."""
    height = mesh_model().canonical[:, 1]
    return Regions(mouth=np.flatnonzero(height[SUBNASALE] > height), rest=np.flatnonzero(height[SUBNASALE] <= height))
