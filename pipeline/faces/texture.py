"""Grey-level cues that landmarks do not carry: shading and edges in a small upright picture of the face.

The picture is 112 x 112 with the outer eye corners at a fixed place, so a region is a rectangle. Each reading is the
mean of one channel over the region and its mirror image: ``grey`` (relative to the mean and spread of the inner
face) or ``across`` (edges that run across the face, such as lid slits and folds, relative to all edges in the
picture), so that light, contrast and sharpness cancel. What each region adds is in docs/action_units.md.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.meshmodel import OUTER_EYES

SIZE = 112  # px, edge of the small picture
EYE_DISTANCE = 48.0  # px between the outer eye corners in it
EYE_HEIGHT = 40.0  # px from its top to the eyes
_INNER_FACE = (slice(16, 88), slice(16, 96))  # rows, columns whose grey mean and spread are the unit of "grey"

# name: channel, first and last row, first and last column (exclusive; of the picture's left half, mirrored too).
REGIONS: dict[str, tuple[str, int, int, int, int]] = {
    "brow_strip_grey": ("grey", 8, 32, 32, 56),  # forehead above the inner brows: a raised brow enters and darkens it
    "forehead_across": ("across", 8, 24, 24, 48),
    "furrow_across": ("across", 16, 36, 44, 56),  # between the brows
    "eye_across": ("across", 32, 44, 24, 40),
    "crow_across": ("across", 36, 52, 12, 24),  # outside the outer eye corner
    "infraorbital_across": ("across", 48, 60, 24, 40),
    "fold_grey": ("grey", 60, 76, 32, 44),  # nasolabial fold beside the nostril
    "fold_across": ("across", 52, 68, 32, 48),
    "cheek_grey": ("grey", 56, 76, 16, 28),
    "cheek_across": ("across", 52, 68, 16, 32),
    "corner_grey": ("grey", 72, 88, 28, 40),  # beside the corner of the mouth
    "upper_lip_across": ("across", 60, 72, 44, 56),
    "under_lip_across": ("across", 80, 96, 40, 56),  # lower lip and the furrow below it
    "chin_grey": ("grey", 88, 104, 48, 56),  # the chin's boss, which bulges, puckers and darkens
}


def face_picture(image: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the face as a small upright grey picture (112, 112) uint8.

    Args:
        image: (height, width, 3) RGB.
        points: (478, >=2) face points in pixels of it.
    """
    import cv2

    right, left = points[OUTER_EYES[0], :2].astype(np.float64), points[OUTER_EYES[1], :2].astype(np.float64)
    across = left - right
    distance = max(float(np.hypot(*across)), 1.0)
    # The small picture, in pixels of this one: its middle, and a little more than half its diagonal.
    centre = (left + right) / 2 + (SIZE / 2 - EYE_HEIGHT) / EYE_DISTANCE * np.array([-across[1], across[0]])
    reach = distance / EYE_DISTANCE * SIZE * 0.75
    x0, y0 = np.maximum(np.floor(centre - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre + reach) + 1, [image.shape[1], image.shape[0]]).astype(int)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return np.zeros((SIZE, SIZE), np.uint8)
    part: NDArray[Any] = cv2.cvtColor(np.ascontiguousarray(image[y0:y1, x0:x1]), cv2.COLOR_RGB2GRAY)
    shrink = int(distance // EYE_DISTANCE)
    if shrink > 1:  # a large face is averaged down first, or its edges would alias
        size = (max(1, part.shape[1] // shrink), max(1, part.shape[0] // shrink))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    ratio = np.array([part.shape[1] / (x1 - x0), part.shape[0] / (y1 - y0)])
    a, b = (right - [x0, y0]) * ratio, (left - [x0, y0]) * ratio
    across = b - a
    turn = (
        EYE_DISTANCE / max(float(across @ across), 1e-6) * np.array([[across[0], across[1]], [-across[1], across[0]]])
    )
    shift = np.array([SIZE / 2, EYE_HEIGHT]) - turn @ ((a + b) / 2)
    warped: NDArray[Any] = cv2.warpAffine(
        part, np.column_stack([turn, shift]), (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return warped.astype(np.uint8, copy=False)


def read_texture(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the readings of ``REGIONS``, in their order, of one small picture (float32)."""
    import cv2

    # Compression noise lives in single pixels, wrinkles do not.
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (5, 5), 0.7)
    across = cv2.absdiff(smooth[2:], smooth[:-2])
    down = cv2.absdiff(smooth[:, 2:], smooth[:, :-2])
    edges = (cv2.mean(across)[0] + cv2.mean(down)[0]) / 2 + 1e-3
    middle, spread = (float(value[0, 0]) for value in cv2.meanStdDev(smooth[_INNER_FACE]))
    grey, edge = _masks()
    readings = np.empty(len(REGIONS), np.float32)
    readings[_IS_GREY] = (grey @ smooth.ravel() - middle) / (spread + 1e-3)
    readings[~_IS_GREY] = edge @ across.ravel() / edges
    return readings


_IS_GREY = np.array([channel == "grey" for channel, *_ in REGIONS.values()])


@cache
def _masks() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights that average a region and its mirror image: of the grey picture, of its edges across.

    Shapes (n_grey, SIZE * SIZE) and (n_across, (SIZE - 2) * SIZE): the differences lack the first and last row.
    """
    masks = np.zeros((len(REGIONS), SIZE, SIZE), np.float32)
    for mask, (_, top, bottom, left, right) in zip(masks, REGIONS.values(), strict=True):
        mask[top:bottom, left:right] = mask[top:bottom, SIZE - right : SIZE - left] = 1.0
        mask /= mask.sum()
    grey, across = masks[_IS_GREY], masks[~_IS_GREY, 1:-1]
    return grey.reshape(len(grey), -1), across.reshape(len(across), -1)
