"""The faces of a segment, each through one shot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(eq=False)
class Face:
    """One face through one shot.

    Attributes:
        number: of the face within the segment, in the order of discovery.
        shot: number of the shot.
        frames: indices of the frames in which it was found, rising.
        points: for each of them (478, 3) pixels.
        readings: for each of them what the backend reads from the picture.
        skipped: frames among them that were not looked at: points and readings lie between those of the looks.
    """

    number: int
    shot: int
    frames: list[int] = field(default_factory=list)
    points: list[NDArray[np.float32]] = field(default_factory=list)
    readings: list[dict[str, NDArray[np.float32]]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    place: Any = None  # where to look next
    seen: float = -np.inf  # s, when it was last found

    def middle(self) -> tuple[NDArray[np.float32], float]:
        """Return where its middle was last (px) and its size: the longer edge round its points."""
        flat = self.points[-1][:, :2]
        low, high = flat.min(axis=0), flat.max(axis=0)
        return (low + high) / 2, float((high - low).max())

    def add(self, index: int, time: float, seen: tuple[NDArray[np.float32], Any]) -> None:
        """Note what was found in a frame: its points, and where to look in the next."""
        self.frames.append(index)
        self.points.append(seen[0])
        self.place, self.seen = seen[1], time

    def is_at(self, x: float, y: float, reach: float) -> bool:
        """Tell whether (x, y) lies within ``reach`` of its sizes from its middle."""
        middle, size = self.middle()
        return float(np.hypot(x - middle[0], y - middle[1])) < reach * size


@dataclass(frozen=True, eq=False)
class Scene:
    """All faces of a segment.

    Attributes:
        time: (n_frames,) s on the file's clock.
        shot: (n_frames,) number of the shot, from 0, rising at every cut.
        size: (width, height) of the picture, px.
        faces: in the order of discovery.
    """

    time: NDArray[np.float64]
    shot: NDArray[np.intp]
    size: tuple[int, int]
    faces: list[Face]
