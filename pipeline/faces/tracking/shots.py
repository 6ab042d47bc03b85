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
_EVEN = 8.0  # grey levels of 255; a thumbnail with less spread (the end of a fade) counts for less


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
        # 1 - correlation; where a picture is too dark to have one, how far it is from the other all the same.
        change = float(np.square(last - thumbnail).sum()) / 2
        known = len(self._changes)
        cut = known >= _SHORTEST and change > max(_CHANGE, _JUMP * sum(self._changes) / known)
        if cut:
            self._changes.clear()
        else:
            self._changes.append(change)
        return cut


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (_ROWS * _COLUMNS,) grey levels with mean 0 and length 1; shorter where the picture is nearly even."""
    import cv2

    # Two by two pixels of each cell: averaging over the whole picture would cost .3 ms.
    few = cv2.resize(image, (2 * _COLUMNS, 2 * _ROWS), interpolation=cv2.INTER_NEAREST)[..., 1]
    grey = few[::2, ::2].astype(np.float32) + few[1::2, ::2] + few[::2, 1::2] + few[1::2, 1::2]
    grey = grey.ravel() / 4
    grey -= grey.mean()
    flat: NDArray[np.float32] = grey / max(float(np.linalg.norm(grey)), _EVEN * np.sqrt(grey.size))
    return flat
