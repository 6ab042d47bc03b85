"""Which cues make which action unit (AU), how far each unit can be trusted, and what was measured.

Each AU is a weighted sum of cues. A cue is a distance or height on the aligned face, a row of py-feat's inverted mesh
model (``aus.inverse_rows``), or a region of the small face picture (``texture``). Cues are divided by how much they
typically move while people talk, so weights of 1 and 1/2 say which cue leads. Nothing was fitted to anybody's output:
the cues follow the anatomy (Ekman & Friesen, FACS), and among anatomically sensible ones those were kept that agreed
with a reference on one part of the clips and held on the other.

Measured on 47 courtroom films in the wild (10 to 30 fps, 22 to 163 px between the eyes) against OpenFace 2.0's
intensities with ``reference.compare_with_reference`` (Pearson r per clip where the unit is active, at least 5 % of the
frames at intensity 1, then the mean over clips; whole films, one face, smoothing .04 s):

==== ====== ===== ====== ===== ======== ============== ====== =======================================================
AU   r, all clips r,same clips r, one   chosen on / on grade  main cue
     clips        face         shot(28) other speakers
==== ====== ===== ====== ===== ======== ============== ====== =======================================================
01    .72     9    .74     7    .73      .79 / .70     fair   inner brow to inner eye corner, grey strip above the brow
02    .50     5    .66     3    .66      .53 / .91     fair   brow height
04    .30    22    .37    17    .49      .32 / .42     weak   outer brow to eye, edges between the brows and above them
05    .38     4    .33     3    -       -.16 / .57     weak   inverted model
06    .59    10    .74     6    .74      .78 / .70     good   inverted model, lower lid, eye opening, fold shading
07    .27    22    .28    18    .40      .33 / .19     weak   lower lid, edges at the eye
09    .46     2    .46     2    .77      .14 / .77     weak   nose length
10    .36    31    .41    25    .41      .35 / .44     fair   shading of the nasolabial fold
12    .58    14    .70    10    .70      .69 / .71     good   inverted model, depth of the corners, fold shading
14    .33    23    .36    18    .39      .40 / .34     weak   mouth corner to ear
15    .13    10    .09     6    .10      .12 / .05     weak   mouth corner above the lower lip
17    .40    34    .44    29    .48      .25 / .53     weak   lips closed, shading of the chin
20    .11     6    .30     3    .25      .33 / .25     weak   mouth width, inverted model
23    .31     8    .28     5    .62      .20 / .39     weak   cheek and upper lip edges
25    .56    39    .59    34    .73      .59 / .59     fair   upper lip to the skin below the lower
26    .43    38    .48    32    .56      .44 / .51     fair   inner brow to the skin below the lower lip
45    .78    19    .78    19    .82      .79 / .78     good   eye opening, upper lid height (our AU43)
mean  .42    47    .47    40    .55      .40 / .52
==== ====== ===== ====== ===== ======== ============== ====== =======================================================

Means by grade, all clips / same face: good .65 / .74, fair .51 / .58, weak .30 / .32. "Same face": the head turns of
both correlate by .4 or more; elsewhere the reference follows another face or none. "One shot": also no cut found and
30 px or more between the eyes. The last pair of numbers is same-face clips of two sets of speakers: cues added here
had to raise the first and were kept if the second agreed. That is not a clean test: the older cues were chosen on
other halves, and where to look for the grey-level cues came from maps of both sets. Units with few clips (05, 09, 20)
are barely measured. AU11, AU24 and AU28 are not in the reference.

What the brow strip, the forehead, chin and lip readings added, chosen on / on the other speakers: AU01 .76 / .56 to
.79 / .70, AU04 .29 / .32 to .32 / .42, AU17 .21 / .40 to .25 / .53; the inverted model's AU20 .29 / .24 to .33 / .25;
the corner against the lower lip for AU15 .05 / -.09 to .12 / .05. The mean went from .41 to .42 on all clips, .45 to
.47 on the same face.

The rule of what is active matters: with 10 % of the frames and a deviation of .3 the same-face means are good .80, fair
.64, all .48; with 2 % of the frames .70, .54, .45; at intensity .5 instead of 1 .62, .47, .40; any clip that varies
.55, .44, .35.

What did not help, on the same clips (mean r of the 17 on the same face unless said otherwise):

- the inverted model alone: .20 to .28 (two or three dimensions, ridge .3 to 3, neutral of the model or of the speaker,
  non-negative or not; single-shot clips); landmarks alone, without grey-level cues: .413;
- readings clipped at zero, as the reference's are: from the clip's 30 % quantile .467, from its median .449 against
  .470 (blinks, AU01, AU02 gain .03 to .07; AU06, AU10, AU12 lose .07 to .1); a moving baseline of 5 to 20 s (median
  or 20 % quantile): .27 to .32 against .43 on 28 of the clips;
- longer smoothing (.1 to .8 s) by unit: no unit gains more than .02 in both sets, lips and blinks lose;
- taking out what correlates with head pose within the clip: lowered every unit (mean .40 to .29), since heads move
  when faces do; reading only the side that faces the camera: .32 against .34; distances in three dimensions for
  mouth corners and brows: no gain on top of what is there;
- the iris (upper and lower lid against it, slow or not) for AU05 and AU07: halves disagree;
- oblique edges at the nasolabial fold for AU06, AU10 and AU12, edges at the nose root for AU09, a larger picture of
  edges by direction: one half gains what the other loses;
- each clip's readings learned anew from its own pictures and points (kernel ridge, so what a picture explains is
  kept): .438 to .451 against .447;
- the speaker's median face as neutral: no change within a clip; per shot instead of per segment: .40 against .41;
- for comparison only, never shipped: a ridge regression fitted to the reference's own output on other speakers scored
  .40 from points, .31 from edges and grey levels, .43 from both.
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
RELIABILITY: dict[str, float] = {au: GRADE_WEIGHTS[grade] for grade, aus in GRADES.items() for au in aus}
"""AU to the weight that emotion scores give it, 0 to 1 (grades from the measurement above; the weights are ours)."""


def reliability(backend: str) -> dict[str, float]:
    """Return AU to weight for a backend's readings; py-feat's own models were not measured and all weigh 1.

    >>> reliability("mesh")["AU12"], reliability("pyfeat")["AU20"]
    (1.0, 1.0)

    """
    return dict.fromkeys(AU_NAMES, 1.0) if backend == "pyfeat" else dict(RELIABILITY)
