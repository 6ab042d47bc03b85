"""How far each action unit moves each point of the face, from py-feat's bundled linear model.

The model is an average over many photographs, with head pose and whatever else went along still in its columns. Taken
as it is, it moves brows by 2 % of the face's width and the outline with them; ``mesh_basis`` lists what we change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.faces.meshmodel import mesh_model

FloatArray = NDArray[np.float64]

# --- Mesh topology (MediaPipe's published point numbers) -------------------------------------------------
# Lips, row by row from the inner edge to the skin, each right to left without the corners.
UPPER_LIP = ((191, 80, 81, 82, 13, 312, 311, 310, 415), (183, 42, 41, 38, 12, 268, 271, 272, 407),
             (184, 74, 73, 72, 11, 302, 303, 304, 408), (185, 40, 39, 37, 0, 267, 269, 270, 409))  # fmt: skip
LOWER_LIP = ((95, 88, 178, 87, 14, 317, 402, 318, 324), (96, 89, 179, 86, 15, 316, 403, 319, 325),
             (77, 90, 180, 85, 16, 315, 404, 320, 307), (146, 91, 181, 84, 17, 314, 405, 321, 375))  # fmt: skip
INNER_UPPER_LIP, INNER_LOWER_LIP = UPPER_LIP[0], LOWER_LIP[0]
UPPER_LIDS = (246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)
LOWER_LIDS = (7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382)
# Points that facial muscles hardly move: they define head pose and scale (eye corners, nose bridge, brow root).
STABLE = (33, 133, 362, 263, 168, 6, 197, 195, 8, 9)

# --- Action units -----------------------------------------------------------------------------------------
AU_NAMES = ("AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU11", "AU12", "AU14", "AU15", "AU17",
            "AU20", "AU23", "AU24", "AU25", "AU26", "AU28", "AU43")  # fmt: skip
#: What a track drives: the model's 20 action units, and lip rounding, for which the model has no column.
CHANNELS = (*AU_NAMES, "AU18")

# Intensity 1 moves the points by GAIN times the model's column. Ours: the columns are averages over many
# photographs, so an AU at 1 moves a brow by 2 % of the face width; these gains make 1 a strong expression.
_GAIN = {
    "AU01": 2.8, "AU02": 2.6, "AU04": 2.3, "AU05": 0.8, "AU06": 0.9, "AU07": 2.4, "AU09": 0.6, "AU10": 2.0,
    "AU11": 1.5, "AU12": 2.6, "AU14": 0.6, "AU15": 2.8, "AU17": 0.7, "AU20": 0.7, "AU23": 2.0, "AU24": 0.5,
    "AU26": 1.3, "AU28": 0.7, "AU43": 1.15,
}  # fmt: skip
# The columns also hold what merely went along in the model's training pictures (a raised brow with a
# shorter nose). Upper-face units are therefore confined to the upper face and mouth units to the lower.
_UPPER = ("AU01", "AU02", "AU04", "AU05", "AU07", "AU43")
_LOWER = ("AU10", "AU11", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU24", "AU26", "AU28")
_WING_LIFT = 0.06  # inter-ocular distances by which AU09 = 1 lifts the nose wings
_LIP_PARTING = 0.14  # inter-ocular distances between the lips at AU25 = 1
_PUCKER = 0.32  # share of the mouth's width lost at AU18 = 1


@cache
def mesh_basis() -> tuple[FloatArray, FloatArray]:
    """Return the displacement of the 478 points per unit of each channel, and the model's neutral face.

    From py-feat's ``au_to_mesh_pls_v4.npz``, changed in four ways, all ours: made left-right
    symmetric; freed of the rigid motion of ``STABLE``; confined to the part of the face that the muscle moves;
    scaled by ``_GAIN``. AU25 (empty in the model) and AU18 are own fields.

    Returns:
        ``basis`` (21 of ``CHANNELS``, 478, 3) and ``neutral`` (478, 3), in inter-ocular distances, y up, origin between
        the eyes.
    """
    model = mesh_model()
    if model.au_names != AU_NAMES:
        raise InputError("py-feat's mesh model has other action units than this version knows: install 2.1.5")
    flip = np.array([-1.0, 1.0, 1.0])
    neutral = (model.neutral + model.neutral[model.mirror] * flip) / 2
    columns = (model.au_basis + model.au_basis[:, model.mirror] * flip) / 2
    # Infinitesimal similarity motion: 3 shifts, 3 rotations, 1 scale, fitted on the stable points.
    stable = list(STABLE)
    offset = neutral - neutral[stable].mean(0)
    motions = [np.broadcast_to(e, offset.shape) for e in np.eye(3)]
    motions += [np.cross(e, offset) for e in np.eye(3)] + [offset]
    rigid = np.stack(motions, -1)  # 478 x 3 x 7
    pose = np.linalg.lstsq(rigid[stable].reshape(-1, 7), columns[:, stable].reshape(len(AU_NAMES), -1).T, rcond=None)[0]
    columns = columns - np.einsum("pak,kc->cpa", rigid, pose)

    side, y = np.abs(neutral[:, 0]), neutral[:, 1]
    inside = 1 - smooth_step(side, 0.45, 0.75)  # the outline of the face stays still...
    inside = inside * (1 - smooth_step(y, 0.33, 0.55))  # ... and so does the hair line
    upper = inside * smooth_step(y, -0.37, -0.13)  # heights: eyes 0, nose tip -.38, lips -.70, chin -1.17
    lower = inside * (1 - smooth_step(y, -0.47, -0.19))
    basis = np.zeros((len(CHANNELS), 478, 3))
    for channel, name in enumerate(AU_NAMES):
        zone = upper if name in _UPPER else lower if name in _LOWER else inside
        if name in ("AU17", "AU26"):  # the chin takes the outline with it
            zone = 1 - smooth_step(y, -0.47, -0.19)
        elif name == "AU01":  # inner brow: x .1, outer brow: x .5
            zone = zone * (1 - 0.75 * smooth_step(side, 0.15, 0.45))
        elif name == "AU02":
            zone = zone * (0.1 + 0.9 * smooth_step(side, 0.12, 0.42))
        elif name == "AU04":  # the outer half more, so that 1+4 is the oblique brow of grief
            zone = zone * (0.40 + 0.60 * smooth_step(side, 0.12, 0.40))
        elif name == "AU05":  # lids rather than brows
            zone = zone * (1 - 0.6 * smooth_step(y, 0.08, 0.22))
        basis[channel] = _GAIN.get(name, 0.0) * columns[channel] * zone[:, None]
    # The model's column for AU09 does not lift the nose wings (it is mostly head pose): an own field does.
    wings = np.exp(-((neutral[:, 0] / 0.22) ** 2 + ((y + 0.42) / 0.14) ** 2))
    basis[CHANNELS.index("AU09"), :, 1] += _WING_LIFT * wings
    basis[CHANNELS.index("AU25")], basis[CHANNELS.index("AU18")] = _lip_fields(neutral)
    return basis, neutral


def smooth_step(values: FloatArray, low: float, high: float) -> FloatArray:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _lip_fields(neutral: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Own fields: AU25 parts the lips (lower lip down 70 %, upper up 30 %), AU18 draws the corners in and forward."""
    x, y = neutral[:, 0], neutral[:, 1]
    half = (neutral[291, 0] - neutral[61, 0]) / 2
    line = neutral[[13, 14], 1].mean()
    across = np.where(np.abs(x) < half * 1.05, np.cos(np.clip(x / half / 1.05, -1, 1) * np.pi / 2) ** 0.6, 0.0)
    below, above = y < line, y > line
    below[list(INNER_LOWER_LIP)], above[list(INNER_LOWER_LIP)] = True, False
    below[list(INNER_UPPER_LIP)], above[list(INNER_UPPER_LIP)] = False, True
    # Full at the lips (about .11 thick), gone at the chin and under the nose.
    fall = np.exp(-(np.maximum(np.abs(y - line) - 0.11, 0) ** 2) / (2 * 0.11**2))
    parting = np.zeros((478, 3))
    parting[:, 1] = _LIP_PARTING * across * fall * (0.3 * above - 0.7 * below)
    far = np.hypot(np.maximum(np.abs(x) - half, 0), np.maximum(np.abs(y - line) - 0.125, 0))
    near = np.exp(-(far**2) / (2 * 0.08**2))
    pucker = np.column_stack([-_PUCKER * x * near, 0.12 * (y - line) * near, 0.036 * near])
    return parting, pucker


def channel_tracks(frames: int, tracks: Mapping[str, Sequence[float] | FloatArray]) -> FloatArray:
    """Stack named tracks (each length ``frames``) into (frames, 21); channels not named stay 0.

    >>> channel_tracks(2, {"AU12": [0.0, 1.0]})[:, CHANNELS.index("AU12")]
    array([0., 1.])
    """
    stacked = np.zeros((frames, len(CHANNELS)))
    for name, track in tracks.items():
        stacked[:, CHANNELS.index(name)] = track
    return stacked
