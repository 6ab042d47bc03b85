"""Camera cuts, found in the picture itself.

Two successive pictures are compared as small grey thumbnails, each with its own mean and spread taken out, so that
flashes and fades, which change the light and not the scene, do not count. A cut is a correlation that falls far below
the recent ones: a moving camera and a passer-by lower it too, but for many frames.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

_COLUMNS, _ROWS = 48, 27  # px, size of a thumbnail
_CHANGE = 0.1  # 1 - correlation of successive thumbnails from which a cut is possible
_JUMP = 4.0  # how many times the mean of the last changes it must be
_MEMORY = 10  # changes; a third of a second of common film
_SHORTEST = 3  # changes that must be known since the last cut: a fast zoom is not a cut a frame
_DARK = 3.0  # grey levels of 255; a thumbnail with less spread shows nothing


class CutFinder:
    """Tells of each picture in turn whether it begins another shot."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._changes: deque[float] = deque(maxlen=_MEMORY)

    def __call__(self, image: NDArray[np.uint8]) -> bool:
        """Return True if the picture (height, width, 3) belongs to another shot than the one before it."""
        thumbnail = _thumbnail(image)
        last, self._last = self._last, thumbnail
        if last is None:
            return False
        change = 1.0 - float(np.vdot(last, thumbnail))
        known = len(self._changes)
        cut = known >= _SHORTEST and change > max(_CHANGE, _JUMP * sum(self._changes) / known)
        if cut:
            self._changes.clear()
        else:
            self._changes.append(change)
        return cut


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (_ROWS * _COLUMNS,) grey levels with mean 0 and length 1."""
    import cv2

    # Every n-th pixel of the green channel first: averaging over the whole picture would cost .3 ms.
    step = max(1, min(image.shape[0] // (3 * _ROWS), image.shape[1] // (3 * _COLUMNS)))
    few = np.ascontiguousarray(image[::step, ::step, 1])
    grey = cv2.resize(few, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    grey -= grey.mean()
    flat: NDArray[np.float32] = grey / max(float(np.linalg.norm(grey)), _DARK * np.sqrt(grey.size))
    return flat
