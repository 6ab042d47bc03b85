"""Which cues make which action unit (AU), and how far each unit can be trusted.

Each AU is a weighted sum of cues, divided by how much they typically move while people talk. Nothing was fitted to
anybody's output: the cues follow the anatomy (Ekman & Friesen, FACS) and were kept where they agreed with a reference
on two sets of speakers. What was measured and what did not help is in docs/action_units.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Columns of ``aus`` in the faces table: the inputs of py-feat's mesh model, in its order.
AU_NAMES: tuple[str, ...] = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU11", "AU12",
    "AU14", "AU15", "AU17", "AU20", "AU23", "AU24", "AU25", "AU26", "AU28", "AU43",
)  # fmt: skip

UNIT = 4.0  # typical movements (standard deviations) of talking people that make an intensity of 1


@dataclass(frozen=True)
class Cue:
    """A reading's median over people (``neutral``) and its standard deviation while they talk (``scale``).

    Both are statistics of our own readings on the trial clips; the reference took no part in them.
    """

    neutral: float
    scale: float


# Distances are between a point pair and its mirror pair, averaged; heights likewise. Inter-ocular distances.
CUES: dict[str, Cue] = {
    "brow_inner_gap": Cue(0.188, 0.0092),  # inner brow to inner eye corner
    "brow_inner_upper": Cue(0.272, 0.0124),  # upper edge of the inner brow to inner eye corner
    "brow_mid_height": Cue(0.271, 0.0130),
    "brow_outer_gap": Cue(0.223, 0.0089),  # outer eye corner to outer brow
    "lower_lid_height": Cue(-0.027, 0.0070),
    "eye_opening": Cue(0.853, 0.147),  # sum of three lid distances over eye width
    "eye_opening_slow": Cue(0.266, 0.0372),  # the same in inter-ocular distances, blinks taken out
    "lid_to_forehead": Cue(0.698, 0.0221),
    "nose_length": Cue(0.525, 0.0096),  # root to wing
    "brow_inner_height": Cue(0.219, 0.0117),
    "corner_depth": Cue(0.155, 0.0191),  # how far back the mouth corners lie
    "corner_to_ear": Cue(0.760, 0.0154),
    "lip_arch": Cue(0.0710, 0.0031),  # middle of the upper lip's inner edge to its quarter
    "lip_to_jaw_angle": Cue(0.573, 0.0082),
    "lip_parting": Cue(0.215, 0.0806),  # square root: closing matters more than opening wider
    "lip_drop": Cue(0.234, 0.0276),  # upper lip to the skin below the lower
    "corner_parting": Cue(0.0568, 0.0099),
    "jaw_drop": Cue(1.151, 0.0315),  # inner brow to the skin below the lower lip
    "lip_thickness": Cue(0.176, 0.0184),
    "lower_lip_height": Cue(-0.880, 0.0277),
    "corner_to_lower_lip": Cue(0.110, 0.0265),  # mouth corners above the lower lip's outer edge
    "mouth_width": Cue(0.590, 0.0262),
    **{f"inverse_{au}": cue for au, cue in {
        "AU05": Cue(0.068, 0.0361), "AU06": Cue(-0.080, 0.0342), "AU10": Cue(-0.017, 0.0147),
        "AU12": Cue(-0.025, 0.0325), "AU20": Cue(0.004, 0.0451), "AU26": Cue(0.064, 0.0574)}.items()},
    # Grey levels differ too much between people and lamps for a common neutral: they count from the shot's median.
    **{name: Cue(np.nan, scale) for name, scale in {
        "brow_strip_grey": 0.123, "forehead_across": 0.121,
        "furrow_across": 0.126, "eye_across": 0.212, "crow_across": 0.107,
        "infraorbital_across": 0.139, "fold_grey": 0.133, "fold_across": 0.156, "cheek_grey": 0.170,
        "cheek_across": 0.095, "corner_grey": 0.116, "upper_lip_across": 0.252,
        "under_lip_across": 0.376, "chin_grey": 0.217}.items()},
}  # fmt: skip

FORMULAS: dict[str, dict[str, float]] = {
    "AU01": {"brow_inner_gap": 1, "brow_strip_grey": -0.5},
    "AU02": {"brow_inner_upper": 0.5, "brow_mid_height": 0.5},
    "AU04": {"brow_outer_gap": -1, "furrow_across": -1, "forehead_across": -1},
    "AU05": {"inverse_AU05": 1},
    "AU06": {
        "inverse_AU06": 1,
        "lower_lid_height": 0.5,
        "eye_opening_slow": -0.5,
        "fold_grey": -0.5,
        "cheek_grey": -0.5,
    },
    "AU07": {"lower_lid_height": 1, "eye_across": 1, "infraorbital_across": -1, "crow_across": -1},
    "AU09": {"nose_length": -1, "brow_inner_height": -0.5, "fold_across": 0.5},
    "AU10": {"fold_grey": -1, "fold_across": 0.5, "inverse_AU10": 0.5},
    "AU11": {"fold_grey": -1, "fold_across": 1},
    "AU12": {"inverse_AU12": 1, "corner_depth": 0.5, "fold_grey": -0.5},
    "AU14": {"corner_to_ear": -1, "lip_arch": 0.5, "corner_grey": -0.5},
    "AU15": {"corner_to_lower_lip": -1},
    "AU17": {"lip_parting": -1, "lower_lip_height": 0.5, "chin_grey": -1, "under_lip_across": -0.5},
    "AU20": {"mouth_width": 1, "lip_to_jaw_angle": -0.5, "inverse_AU20": 0.5},
    "AU23": {"cheek_across": 1, "upper_lip_across": -0.5},
    "AU24": {"lip_thickness": -1, "lip_parting": -1},
    "AU25": {"lip_drop": 1, "corner_parting": 0.5},
    "AU26": {"jaw_drop": 1, "inverse_AU26": 0.5},
    "AU28": {"lip_thickness": -1},
    "AU43": {"eye_opening": -1, "lid_to_forehead": 1},
}

GRADES: dict[str, tuple[str, ...]] = {
    "good": ("AU06", "AU12", "AU43"),
    "fair": ("AU01", "AU02", "AU10", "AU25", "AU26"),
    "weak": ("AU04", "AU05", "AU07", "AU09", "AU14", "AU15", "AU17", "AU20", "AU23"),
    "unsupported": ("AU11", "AU24", "AU28"),
}
GRADE_WEIGHTS: dict[str, float] = {"good": 1.0, "fair": 0.7, "weak": 0.3, "unsupported": 0.0}
#: AU to the weight that emotion scores give it, 0 to 1 (grades from docs/action_units.md; the weights are ours).
RELIABILITY: dict[str, float] = {au: GRADE_WEIGHTS[grade] for grade, aus in GRADES.items() for au in aus}


def reliability(backend: str) -> dict[str, float]:
    """Return AU to weight for a backend's readings; py-feat's own models were not measured and all weigh 1.

    >>> reliability("mesh")["AU12"], reliability("pyfeat")["AU20"]
    (1.0, 1.0)
    """
    return dict.fromkeys(AU_NAMES, 1.0) if backend == "pyfeat" else dict(RELIABILITY)
