"""Trajectories of the points around the mouth, on the frames of the acoustics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.labels.tracks import DenseConfig, Floats, face_line, face_row, on_frames
from pipeline.orofacial.alignment import read_alignment
from pipeline.orofacial.visemes import CLASSES, NONE, spoken
from pipeline.orofacial.visemes import on_frames as visemes_on_frames

# MediaPipe mesh points, each group in drawing order from the picture's left. Lips: the 12 + 8 points of the usual
# 68-point scheme. Jaw line: face oval, which a turned head slides over the skin. Chin: below the lip to its tip.
POINTS: dict[str, tuple[int, ...]] = {
    "lips_outer": (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),
    "lips_inner": (78, 81, 13, 311, 308, 402, 14, 178),
    "jaw": (172, 150, 176, 152, 400, 379, 397),
    "chin": (18, 200, 199),
}
NAMES = [f"{group}_{point:03d}_{axis}" for group, points in POINTS.items() for point in points for axis in "xy"]
_INDEX = [point for points in POINTS.values() for point in points]


def trajectories(face: Mapping[str, Any], config: DenseConfig, at: Floats) -> NDArray[np.float32]:
    """Return the coordinates at the times ``at`` (s), (n_frames, 60) in the order of `NAMES`, inter-ocular distances.

    NaN where there is no valid face; gaps longer than ``config.max_gap`` and camera cuts are not bridged.
    """
    line, points = face_line(face, config)
    tracks = points[:, _INDEX].reshape(len(points), -1)
    return np.stack([on_frames(track, line, at) for track in tracks.T], axis=1).astype(np.float32)


class Mouth:
    """The columns ``mouth`` and ``viseme`` of a segment; counts alignments, by what they give, and what was amiss."""

    fields: tuple[tuple[str, pa.DataType], ...] = (
        ("mouth", pa.list_(pa.float32())),
        ("viseme", pa.list_(pa.int8())),
        ("sentence", pa.string()),  # what is said, so that whole sentences can be held out
    )

    def __init__(self, config: DenseConfig, *, faces: Mapping[str, pa.Table], root: Path) -> None:
        self.config = config
        self.faces = faces
        self.root = root
        self.aligned: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()  # words and phones that no table has
        self.unreadable: list[str] = []

    def covers(self, segment_id: str) -> bool:
        """Tell whether the segment shows a face."""
        return segment_id in self.faces

    def columns(self, segment: Mapping[str, Any], at: Floats) -> dict[str, Any]:
        """Return the columns for the times ``at``, s from the segment's start."""
        face = face_row(self.faces[segment["segment_id"]])
        viseme = np.full(len(at), NONE, np.int8)
        if segment.get("alignment"):
            try:
                alignment = read_alignment(self.root / segment["alignment"])
            except InputError as error:  # the movement of this segment is as good as any
                self.unreadable.append(str(error))
            else:
                spans, unknown = spoken(alignment)
                viseme = visemes_on_frames(spans, at + (segment.get("start") or 0.0))
                self.aligned["phones" if alignment.phones else "words"] += 1
                self.unknown.update(unknown)
        return {"mouth": trajectories(face, self.config, at).ravel(), "viseme": viseme}

    def metadata(self) -> dict[str, Any]:
        """Return what the shards say of the columns."""
        return {
            "mouth": {
                "names": NAMES,
                "units": "inter-ocular distances from the middle of the eyes, y up, head pose taken out",
                "points": {group: list(points) for group, points in POINTS.items()},
                "config": {name: getattr(self.config, name) for name in ("max_gap", "max_jump")},
            },
            "viseme": {
                "names": list(CLASSES),
                "none": NONE,
                "source": "phone times of alignments; of words alone, phones share a word's time in proportion to "
                "typical durations",
            },
        }
