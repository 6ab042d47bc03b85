"""One segment's video to one row of the faces table.

What fewer frames a second cost is in docs/faces.md.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Quarantined
from pipeline.faces.action_units import level
from pipeline.faces.align import Aligned, align, quality
from pipeline.faces.backends import BACKENDS, Backend, blendshapes
from pipeline.faces.config import FacesConfig
from pipeline.faces.formulas import AU_NAMES, reliability
from pipeline.faces.landmarks import COLUMN, GRID, to_steps
from pipeline.faces.meshmodel import N_POINTS
from pipeline.faces.timeline import all_cuts, bridge, timeline
from pipeline.faces.track import Track
from pipeline.faces.tracking.talking import sound_of
from pipeline.media import frames

_FILLED_QUALITY = 0.5  # an interpolated frame counts half of its neighbours


class FacesExtractor:
    """Find and follow a face, align it, grade every frame, read action units."""

    modules: ClassVar[tuple[str, ...]] = ("pipeline.media", "pipeline.faces")
    packages: ClassVar[tuple[str, ...]] = ("av", "numpy", "py-feat", "scipy")

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self._kind = BACKENDS[config.backend]
        self.packages = tuple(sorted({*FacesExtractor.packages, *self._kind.packages}))  # type: ignore[misc]
        self._backend: Backend | None = None

    def metadata(self) -> dict[str, Any]:
        """Return names and units of the row's columns, and what identifies the backend's models."""
        return {
            "n_landmarks": N_POINTS,
            "landmark_grid": GRID,
            "aus": list(AU_NAMES),
            "au_reliability": reliability(self.config.backend),
            "pose": ["pitch", "yaw", "roll"],
            "backend": self.config.backend,
            "models": self._get().metadata(),
            "units": {
                "time": "s from the segment's start",
                "quality": "0 to 1",
                COLUMN: "inter-ocular distances of the canonical face since the frame before, (n_frames, 478, 3), x "
                "right, y up, z near; numpy.nancumsum over the frames gives the landmarks",
                "aus": "0 typical face, 1 strong movement (pipeline.faces.action_units.level)",
                "pose": "deg; up, to the subject's right, tilted to the subject's right are positive",
                "interocular": "px of the decoded picture",
                "shot": "number, rising where the camera was cut or another face is followed",
                "n_faces": "most faces at one time",
                "chosen_by": "only face (others, if any, were seen briefly) | talks | largest and most central",
                "talk_score": "correlation of mouth and sound, about -1 to 1; empty where no choice was made by it",
            },
        }

    def _get(self) -> Backend:
        if self._backend is None:
            self._backend = self._kind(self.config)
        return self._backend

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the faces row of one segment.

        Args:
            item: ``media_path``, ``start``, ``end`` (s), ``segment_id``, ``has_video``, ``has_audio``.

        Raises:
            Quarantined: no video, or no usable face in it.
        """
        if not item.get("has_video", True):
            raise Quarantined("no video stream")
        config = self.config
        start = float(item.get("start") or 0.0)
        stream = frames(
            item["media_path"], start=start, end=item.get("end"), max_fps=config.max_fps, max_height=config.max_height
        )
        sound = None
        if item.get("has_audio", True):
            sound = sound_of(item["media_path"], start=start, end=item.get("end"))
        track = self._get()(stream, sound)
        if not len(track.time):
            raise Quarantined("no video frames in this stretch: the picture ends before it, or starts after it")
        return {"segment_id": item.get("segment_id"), **_row(track, start, config)}


def _row(track: Track, start: float, config: FacesConfig) -> dict[str, Any]:
    found = np.isfinite(track.points[:, 0, 0])
    _refuse_if_none(found, f"no face found in {len(found)} frames: it may be turned away, covered, dark or too small")
    track, filled = bridge(track, max_gap=config.max_gap)
    aligned = align(track.points)
    grade = _grade(aligned, track, filled, config)
    valid = grade >= config.min_quality
    _refuse_if_none(
        valid,
        f"no face found in {len(found)} frames that is large, frontal and steady enough (best quality "
        f"{grade.max():.2f}, needed {config.min_quality:g}; faces.min_quality, faces.min_interocular)",
    )
    cut = all_cuts(track, found | filled)
    line = timeline(track.time, valid, cut, max_gap=config.max_gap)
    readings = track.aus
    if readings is None:
        readings = level(aligned.landmarks, line, texture=track.texture, sigma=config.smooth)
        if track.blendshapes is not None:
            readings = blendshapes.refine(readings, track.blendshapes, line, sigma=config.smooth)
    return {
        "n_frames": len(track.time),
        "time": track.time - start,
        "valid": valid,
        "quality": grade,
        COLUMN: to_steps(aligned.landmarks),
        "aus": np.asarray(readings, np.float32).ravel(),
        "pose": aligned.pose.ravel(),
        "interocular": aligned.interocular,
        "shot": line.shot.astype(np.int32),
        "n_faces": track.n_faces,
        "chosen_by": track.chosen_by,
        "talk_score": track.talk_score if np.isfinite(track.talk_score) else None,
    }


def _grade(aligned: Aligned, track: Track, filled: NDArray[np.bool_], config: FacesConfig) -> NDArray[np.float32]:
    grade = quality(aligned, track.time, config)
    return np.where(filled, _FILLED_QUALITY * grade, grade)


def _refuse_if_none(usable: NDArray[np.bool_], reason: str) -> None:
    if not usable.any():
        raise Quarantined(reason)
