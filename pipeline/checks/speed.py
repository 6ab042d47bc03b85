"""What the faces stage costs a frame, and where: CPU time of one process, whatever else the machine does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from pipeline.engine.progress import progress
from pipeline.errors import Quarantined
from pipeline.faces import action_units
from pipeline.faces.align import align
from pipeline.faces.backends import BACKENDS
from pipeline.faces.config import FacesConfig
from pipeline.faces.extractor import FacesExtractor
from pipeline.faces.texture import face_picture, read_texture
from pipeline.faces.timeline import timeline
from pipeline.faces.tracking.graphs import Box, Points
from pipeline.media import Frame, frames

PARTS = ("all", "decoding", "face points", "grey levels", "action units")


@dataclass
class Cost:
    """CPU seconds of the parts, and the frames they were spent on."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    frames: int = 0
    faces: int = 0  # frames in which the followed face was found

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the CPU time of the block to a part."""
        began = process_time()
        yield
        self.seconds[part] += process_time() - began

    def table(self) -> pd.DataFrame:
        """Return a row a part: frames a second of one core, ms a frame, share of the whole."""
        spent = pd.Series({name: self.seconds[name] for name in PARTS})
        spent["rest (search, cuts, alignment, sound)"] = spent["all"] - spent[list(PARTS[1:])].sum()
        each = spent / max(self.frames, 1)
        return pd.DataFrame({"frames_per_s": 1 / each.where(each > 0), "ms": each * 1e3, "share": spent / spent["all"]})


def measure(clips: list[Path], config: FacesConfig) -> Cost:
    """Run the extractor on whole clips, then each of its parts again by itself.

    The first clip is run once beforehand, so that loading models is not counted. Clips without a usable face count
    as a whole and in decoding alone.
    """
    extractor, points = FacesExtractor(config), Points(config)
    cost = Cost()
    # One thread, as in the workers: idle threads of a pool that wait by spinning would count.
    with threadpool_limits(1), progress("time-faces", len(clips)) as ticker:
        _run(extractor, clips[0])
        for clip in clips:
            with cost.timed("all"):
                row = _run(extractor, clip)
            with cost.timed("decoding"):
                shown = list(frames(clip, max_fps=config.max_fps, max_height=config.max_height))
            cost.frames += len(shown)
            if row is not None:
                _time_parts(shown, row, points, config, cost)
            ticker.advance()
    return cost


def _run(extractor: FacesExtractor, clip: Path) -> dict[str, Any] | None:
    try:
        return extractor({"media_path": clip, "start": 0.0, "end": None, "segment_id": clip.stem})
    except Quarantined:
        return None


def _box(points: np.ndarray) -> Box:
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    x, y = (low + high) / 2
    return Box(float(x), float(y), float((high - low).max()), 0.0)


def _time_parts(shown: list[Frame], row: dict[str, Any], points: Points, config: FacesConfig, cost: Cost) -> None:
    """Add what points, grey levels and action units cost on the frames where the followed face was found."""
    track = BACKENDS[config.backend](config)(iter(shown))
    found = np.flatnonzero(np.isfinite(track.points[:, 0, 0]))
    place = None
    for index in found:
        if place is None:
            place = points.place(_box(track.points[index]), shown[index].image)
        with cost.timed("face points"):
            again = points(shown[index].image, place)
        place = again[1] if again is not None else None
    with cost.timed("grey levels"):
        for index in found:
            read_texture(face_picture(shown[index].image, track.points[index]))
    aligned = align(track.points)
    line = timeline(track.time, np.asarray(row["valid"]), np.zeros(len(shown), bool), max_gap=config.max_gap)
    with cost.timed("action units"):
        action_units.level(aligned.landmarks, line, texture=track.texture, sigma=config.smooth)
    cost.faces += len(found)
