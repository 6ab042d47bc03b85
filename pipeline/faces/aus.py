"""Action units (AUs) from aligned points and grey-level cues: hand-made formulas, nothing fitted to anybody's output.

Each AU is a weighted sum of cues. A cue is a distance or height on the aligned face, a row of py-feat's inverted mesh
model (``inverse_rows``), or a region of the small face picture (``texture``). Cues are divided by how much they
typically move while people talk, so weights of 1 and 1/2 say which cue leads. Nothing here was learned: the choice of
cues follows the anatomy (Ekman & Friesen, FACS), and among anatomically sensible ones those were kept that agreed
with a reference on one half of the trial clips (speakers not split between halves) and held on the other.

MEASURED_TABLE
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.gaps import Timeline, from_shot_median, running_median, smooth
from pipeline.faces.meshmodel import OVAL, mesh_model
from pipeline.faces.texture import REGIONS

Floats = NDArray[np.floating]

AU_NAMES: tuple[str, ...] = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU11", "AU12",
    "AU14", "AU15", "AU17", "AU20", "AU23", "AU24", "AU25", "AU26", "AU28", "AU43",
)  # fmt: skip
"""Columns of ``aus`` in the faces table: the inputs of py-feat's mesh model, in its order."""

INVERSE_RIDGE = 3.0  # times the mean diagonal of the normal equations
_BLINK = 0.7  # s; a moving median this long sees the eye's rest opening but no blink
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


def _distance(a: int, b: int) -> Callable[[Floats], Floats]:
    """Return a reader of the mean distance (x, y) between two points and between their mirror images.

    Reading only the side that faces the camera was worse for every unit tried (mean r .32 against .34).
    """

    def read(face: Floats) -> Floats:
        mirror = mesh_model().mirror
        one = np.linalg.norm(face[:, a, :2] - face[:, b, :2], axis=1)
        other = np.linalg.norm(face[:, mirror[a], :2] - face[:, mirror[b], :2], axis=1)
        return (one + other) / 2

    return read


def _coordinate(axis: int, *points: int) -> Callable[[Floats], Floats]:
    """Return a reader of the mean coordinate of points and their mirror images."""

    def read(face: Floats) -> Floats:
        return face[:, [*points, *mesh_model().mirror[list(points)]], axis].mean(axis=1)

    return read


_READERS: dict[str, Callable[[Floats], Floats]] = {
    "brow_inner_gap": _distance(133, 55),
    "brow_inner_upper": _distance(133, 107),
    "brow_mid_height": _coordinate(1, 52, 105),
    "brow_outer_gap": _distance(33, 70),
    "lower_lid_height": _coordinate(1, 145, 153),
    "lid_to_forehead": _distance(159, 10),
    "nose_length": _distance(168, 48),
    "brow_inner_height": _coordinate(1, 107, 55),
    "corner_depth": lambda face: -_coordinate(2, 61, 78)(face),
    "corner_to_ear": _distance(61, 234),
    "lip_arch": _distance(13, 82),
    "lip_to_jaw_angle": _distance(39, 58),
    "lip_parting": lambda face: np.sqrt(_distance(13, 14)(face)),
    "lip_drop": _distance(13, 83),
    "corner_parting": _distance(185, 146),
    "jaw_drop": _distance(55, 83),
    "lower_lip_height": _coordinate(1, 17, 84),
    "corner_height": lambda face: _coordinate(1, 61, 78)(face) - _coordinate(1, 0, 17)(face),
    "mouth_width": _distance(61, 291),
    "lip_thickness": lambda face: _distance(0, 13)(face) + _distance(14, 17)(face),
}


def _eye_opening(face: Floats) -> Floats:
    result: Floats = sum(_distance(a, b)(face) for a, b in ((159, 145), (158, 153), (160, 144)))  # type: ignore[assignment]
    return result


@cache
def inverse_rows() -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Return the linear inverse of py-feat's AU-to-mesh model.

    The points (face oval left out), rows (20, n_points * 2) that turn their x and y into AU intensities, and the
    intensities (20,) that the rows give the model's own neutral face. Rigid motion and the model's pose columns are
    projected out; ridge ``INVERSE_RIDGE`` x the mean diagonal. A ridge this strong nearly makes it a matched filter;
    with .3 the collinear columns (AU09, AU12, AU15) fight. Left linear: forcing non-negative intensities afterwards
    lowered agreement (mean r .25 against .28), because a person's shape is not neutral and gets clipped away.
    """
    model = mesh_model()
    keep = np.setdiff1d(np.arange(len(model.canonical)), OVAL)
    face = model.canonical[keep, :2]
    rigid = [np.zeros_like(face) for _ in range(2)]
    rigid[0][:, 0] = rigid[1][:, 1] = 1.0
    nuisance = [*rigid, face, np.stack([-face[:, 1], face[:, 0]], axis=1), *model.pose_basis[:, keep, :2]]
    q = np.linalg.qr(np.stack([part.ravel() for part in nuisance], axis=1))[0]
    basis = model.au_basis[:, keep, :2].reshape(len(model.au_names), -1).T
    basis = basis - q @ (q.T @ basis)
    normal = basis.T @ basis
    rows = np.linalg.solve(normal + INVERSE_RIDGE * np.diag(normal).mean() * np.eye(len(normal)), basis.T)
    return keep, rows, rows @ model.neutral[keep, :2].ravel()


def inverse_aus(landmarks: Floats) -> NDArray[np.float64]:
    """Return (n_frames, 20) intensities that py-feat's mesh model needs to explain aligned points (n, 478, 3)."""
    keep, rows, neutral = inverse_rows()
    flat = landmarks[:, keep, :2].reshape(len(landmarks), -1).astype(np.float64)
    return flat @ rows.T - neutral


def read_cues(landmarks: Floats, texture: Floats | None, line: Timeline) -> dict[str, Floats]:
    """Return every cue in typical movements away from neutral: name to (n_frames,).

    Args:
        landmarks: (n_frames, 478, 3) aligned; NaN where there is no face.
        texture: (n_frames, n_regions) or None, which leaves the grey-level cues out.
        line: the frames to use; others come out NaN.

    """
    used, count = line.used, len(landmarks)
    face = landmarks[used].astype(np.float64)
    raw = {name: read(face) for name, read in _READERS.items()}
    opening = _eye_opening(face)
    raw["eye_opening"] = opening / np.maximum(_distance(33, 133)(face), 1e-6)
    inverse = inverse_aus(face)
    raw |= {name: inverse[:, AU_NAMES.index(name[-4:])] for name in CUES if name.startswith("inverse_")}
    full = {name: _spread(values, used, count) for name, values in raw.items()}
    full["eye_opening_slow"] = running_median(_spread(opening, used, count), line, seconds=_BLINK)
    cues = {name: (values - CUES[name].neutral) / CUES[name].scale for name, values in full.items()}
    if texture is not None:
        cues |= {
            name: from_shot_median(texture[:, index].astype(np.float64), line) / CUES[name].scale
            for index, name in enumerate(REGIONS)
        }
    return cues


def _spread(values: Floats, used: NDArray[np.intp], count: int) -> Floats:
    full = np.full(count, np.nan)
    full[used] = values
    return full


def combine(cues: Mapping[str, Floats], formulas: Mapping[str, Mapping[str, float]] = FORMULAS) -> Floats:
    """Return (n_frames, 20) intensities: weighted sums of cues, scaled to a typical movement, in units of ``UNIT``.

    Cues that are not at hand (grey levels without a picture) are left out of the sum.
    """
    columns = []
    for au in AU_NAMES:
        terms = [(cues[name], weight) for name, weight in formulas[au].items() if name in cues]
        if not terms:
            columns.append(np.zeros_like(next(iter(cues.values()))))
            continue
        size = np.sqrt(sum(weight**2 for _, weight in terms))
        columns.append(sum(values * weight for values, weight in terms) / (size * UNIT))
    return np.stack(columns, axis=1)


def level(
    landmarks: Floats, line: Timeline, *, texture: Floats | None = None, sigma: float = 0.04
) -> NDArray[np.float32]:
    """Return the level reading (n_frames, 20) float32, comparable between speakers as far as faces are.

    0 is people's typical face, 1 a strong movement (``UNIT`` times the standard deviation of a talking face); values
    below 0 mean less than typical, such as a mouth held shut for AU25. Frames outside the runs are NaN.

    Args:
        landmarks: (n_frames, 478, 3) aligned, see ``align``.
        line: the usable frames (``gaps.timeline``).
        texture: (n_frames, n_regions) grey-level readings.
        sigma: s, Gaussian smoothing within each run. On the trial clips .06 s gave the best mean agreement (.511),
            .04 s the best for blinks and lips (mean .509), none .498, .1 s .508 with blunted blinks.

    """
    result = np.full((len(landmarks), len(AU_NAMES)), np.nan, np.float32)
    if line.runs:
        result[line.used] = smooth(combine(read_cues(landmarks, texture, line)), line, sigma=sigma)[line.used]
    return result


def change(aus: Floats, neutral: Floats | None = None) -> Floats:
    """Return the change-from-neutral reading (n_frames, n_aus), zero or more.

    Args:
        aus: (n_frames, n_aus) level reading; NaN where there is none.
        neutral: (n_aus,) the speaker's neutral; default the median of ``aus``, the speaker's typical face here.

    >>> change(np.array([[0.1], [0.2], [0.6]])).round(2).tolist()
    [[0.0], [0.0], [0.4]]

    """
    if neutral is None:
        neutral = np.nanmedian(aus, axis=0)
    return np.maximum(aus - neutral, 0.0)
