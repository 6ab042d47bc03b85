"""Action units (AUs) from aligned points and grey-level cues; which cues make which unit is in ``formulas``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.formulas import AU_NAMES, CUES, FORMULAS, UNIT
from pipeline.faces.meshmodel import OVAL, mesh_model
from pipeline.faces.texture import REGIONS
from pipeline.faces.timeline import Timeline, from_shot_median, running_median, smooth

Floats = NDArray[np.floating]

INVERSE_RIDGE = 3.0  # times the mean diagonal of the normal equations
_BLINK = 0.7  # s; a moving median this long sees the eye's rest opening but no blink


def _distance(a: int, b: int) -> Callable[[Floats], Floats]:
    """Return a reader of the mean distance (x, y) between two points and between their mirror images."""

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
    "corner_to_lower_lip": lambda face: _coordinate(1, 61)(face) - _coordinate(1, 84)(face),
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
    projected out; ridge ``INVERSE_RIDGE`` x the mean diagonal. Why so strong, and why linear: docs/action_units.md.
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


def combine(cues: Mapping[str, Floats]) -> Floats:
    """Return (n_frames, 20) intensities: weighted sums of cues, scaled to a typical movement, in units of ``UNIT``.

    Cues that are not at hand (grey levels without a picture) are left out of the sum.
    """
    columns = []
    for au in AU_NAMES:
        terms = [(cues[name], weight) for name, weight in FORMULAS[au].items() if name in cues]
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
        line: the usable frames (``timeline.timeline``).
        texture: (n_frames, n_regions) grey-level readings.
        sigma: s, Gaussian smoothing within each run.
    """
    result = np.full((len(landmarks), len(AU_NAMES)), np.nan, np.float32)
    if line.runs:
        result[line.used] = smooth(combine(read_cues(landmarks, texture, line)), line, sigma=sigma)[line.used]
    return result
