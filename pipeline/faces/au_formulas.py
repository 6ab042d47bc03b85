"""Which cues make which action unit (AU), how far each unit can be trusted, and what was measured.

Each AU is a weighted sum of cues. A cue is a distance or height on the aligned face, a row of py-feat's inverted mesh
model (``aus.inverse_rows``), or a region of the small face picture (``texture``). Cues are divided by how much they
typically move while people talk, so weights of 1 and 1/2 say which cue leads. Nothing was fitted to anybody's output:
the cues follow the anatomy (Ekman & Friesen, FACS), and among anatomically sensible ones those were kept that agreed
with a reference on one part of the clips and held on the other.

Measured on 47 courtroom films in the wild (33,013 frames; 10 to 30 fps, 25 to 160 px between the eyes) against
OpenFace 2.0's intensities with ``reference.compare_with_reference`` (Pearson r per clip where the unit is active, at
least 5 % of the frames at intensity 1, then the mean over clips):

==== ======= ========== ============= ============== ====== ====== ====================================================
AU   r, all  same face  one shot (35) chosen on / on  clips  grade  main cue
     clips   (40 clips) of one face   the other half  (all)
==== ======= ========== ============= ============== ====== ====== ====================================================
01    .68     .64        .78           .75 / .38        9    fair   inner brow to inner eye corner
02    .50     .66        .66           .53 / .91        5    fair   brow height
04    .27     .31        .33           .27 / .42       22    weak   outer brow to eye, edges between the brows
05    .38     .33        .85          -.16 / .57        4    weak   inverted model
06    .59     .74        .74           .79 / .73       10    good   inverted model, lower lid, eye opening, fold shading
07    .27     .28        .34           .25 / .46       22    weak   lower lid, edges at the eye
09    .46     .46        .46           .46 / -          2    weak   nose length
10    .36     .41        .41           .41 / .40       31    fair   shading of the nasolabial fold
12    .58     .70        .70           .64 / .85       14    good   inverted model, depth of the corners, fold shading
14    .33     .36        .37           .35 / .36       23    weak   mouth corner to ear
15    .04    -.02        .01           .01 / -.18      10    weak   mouth corner height
17    .32     .34        .36           .22 / .42       34    weak   lips closed
20    .10     .27        .25           .29 / .24        6    weak   mouth width
23    .31     .28        .45           .22 / .49        8    weak   cheek and upper lip edges
25    .56     .59        .65           .60 / .58       39    fair   upper lip to the skin below the lower
26    .43     .48        .52           .40 / .56       38    fair   inner brow to the skin below the lower lip
45    .78     .78        .80           .75 / .83       19    good   eye opening, upper lid height (our AU43)
mean  .41     .45        .51           .40 / .50
==== ======= ========== ============= ============== ====== ====== ====================================================

"Same face": the head turns of both correlate by .4 or more; in the other clips the reference follows another face or
none. "One shot of one face": also without five films cut together from several people, and without faces below 30 px
between the eyes. The halves hold different speakers. AU11, AU24 and AU28 are not in the reference.

What did not help, on the same clips (mean r of the 17 on single-shot clips unless said otherwise):

- the inverted model alone: .20 to .28 (two or three dimensions, ridge .3 to 3, neutral of the model or of the speaker,
  non-negative or not); landmarks alone, without grey-level cues: .45 against .51;
- taking out what correlates with head pose within the clip: lowered every unit (mean .40 to .29), since heads move
  when faces do; reading only the side that faces the camera: .32 against .34;
- the speaker's median face as neutral: no change within a clip; per shot instead of per segment: .40 against .41;
- forehead lines for AU01 and AU02, nose wrinkles for AU09, chin texture for AU15 and AU17: no gain at these sizes;
- for comparison only, never shipped: a ridge regression of all aligned points fitted to the reference's own output on
  one half scored .37 to .43 on the other half's speakers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AU_NAMES: tuple[str, ...] = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU11", "AU12",
    "AU14", "AU15", "AU17", "AU20", "AU23", "AU24", "AU25", "AU26", "AU28", "AU43",
)  # fmt: skip
"""Columns of ``aus`` in the faces table: the inputs of py-feat's mesh model, in its order."""

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
    "corner_height": Cue(0.013, 0.0122),  # mouth corners against the outer edges of the lips' middle
    "mouth_width": Cue(0.590, 0.0262),
    **{f"inverse_{au}": cue for au, cue in {
        "AU05": Cue(0.068, 0.0361), "AU06": Cue(-0.080, 0.0342), "AU10": Cue(-0.017, 0.0147),
        "AU12": Cue(-0.025, 0.0325), "AU15": Cue(0.075, 0.0254), "AU26": Cue(0.064, 0.0574)}.items()},
    # Grey levels differ too much between people and lamps for a common neutral: they count from the shot's median.
    **{name: Cue(np.nan, scale) for name, scale in {
        "furrow_across": 0.126, "eye_across": 0.212, "crow_across": 0.107,
        "infraorbital_across": 0.139, "fold_grey": 0.133, "fold_across": 0.156, "cheek_grey": 0.170,
        "cheek_across": 0.095, "corner_grey": 0.116, "upper_lip_across": 0.252}.items()},
}  # fmt: skip

FORMULAS: dict[str, dict[str, float]] = {
    "AU01": {"brow_inner_gap": 1},
    "AU02": {"brow_inner_upper": 0.5, "brow_mid_height": 0.5},
    "AU04": {"brow_outer_gap": -1, "furrow_across": -1},
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
    "AU15": {"corner_height": -1, "inverse_AU15": 0.5},
    "AU17": {"lip_parting": -1, "lower_lip_height": 0.5},
    "AU20": {"mouth_width": 1, "lip_to_jaw_angle": -0.5},
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
RELIABILITY: dict[str, float] = {au: GRADE_WEIGHTS[grade] for grade, aus in GRADES.items() for au in aus}
"""AU to the weight that emotion scores give it, 0 to 1 (grades from the measurement above; the weights are ours)."""


def reliability(backend: str) -> dict[str, float]:
    """Return AU to weight for a backend's readings; py-feat's own models were not measured and all weigh 1.

    >>> reliability("mesh")["AU12"], reliability("pyfeat")["AU20"]
    (1.0, 1.0)

    """
    return dict.fromkeys(AU_NAMES, 1.0) if backend == "pyfeat" else dict(RELIABILITY)
