"""Which of the 478 mesh points belong to the articulating lower face and which do not."""

from __future__ import annotations

import numpy as np

from pipeline.faces.meshmodel import mesh_model

SUBNASALE = 2  # mesh point where the nose meets the upper lip

# "Mouth" is all that lies below the nose: lips, chin and jaw move together in speech. "Rest" is what the mouth
# does not move by itself: nose, cheeks, eyes, brows, forehead.
_HEIGHT = mesh_model().canonical[:, 1]
MOUTH = np.flatnonzero(_HEIGHT[SUBNASALE] > _HEIGHT)
REST = np.flatnonzero(_HEIGHT[SUBNASALE] <= _HEIGHT)
