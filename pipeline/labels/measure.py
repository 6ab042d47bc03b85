"""What is measured of every segment before anything is fitted or decided: statistics, or why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contracts import OK
from pipeline.faces.landmarks import COLUMN as LANDMARKS
from pipeline.faces.landmarks import from_steps
from pipeline.labels.config import LabelsConfig
from pipeline.labels.statistics import energy_variation, facial_activation
from pipeline.labels.tracks import LIPS, correspondence

ACOUSTIC_COLUMNS = ["segment_id", "status", "reason", "rms_db", "voiced"]
FACE_COLUMNS = ["segment_id", "status", "reason", "time", "valid", "shot", LANDMARKS, "aus", "talk_score"]


@dataclass(frozen=True, eq=False)
class Measured:
    """Statistics of all segments.

    Attributes:
        rows: one row a segment, by ``segment_id``: where it comes from, ``t1_stat`` (dB), ``t2_stat``, ``t2_mouth``,
            ``t2_rest`` (inter-ocular distances a second), ``valid_ratio``, and ``t1_reason`` ... ``t3_reason``, why a
            statistic is missing (None where it is not).
        tracks: segment id to the action units (n_valid_frames, n_aus) of segments good enough for T3.
    """

    rows: pd.DataFrame
    tracks: dict[str, np.ndarray]


def measure(
    origin: pd.DataFrame,
    *,
    acoustics: Iterable[Mapping[str, Any]],
    faces: Iterable[Mapping[str, Any]],
    frame_period: float,
    frame_size: float,
    config: LabelsConfig,
) -> Measured:
    """Measure every segment of ``origin``.

    Args:
        origin: one row a segment: ``segment_id``, ``clip_id``, ``corpus``, ``speaker``, ``split``.
        acoustics: rows of the acoustics table (``ACOUSTIC_COLUMNS``); rows of other segments are passed over.
        faces: rows of the faces table (``FACE_COLUMNS``); likewise.
        frame_period: s between two frames of the acoustics.
        frame_size: s that such a frame spans.
        config: section ``labels``.
    """
    rows = origin.set_index("segment_id", drop=False).sort_index()
    sound: dict[str, dict[str, Any]] = {}
    levels: dict[str, np.ndarray] = {}  # kept only where mouths are compared with them
    for row in acoustics:
        sound[row["segment_id"]] = _of_sound(row, frame_period, config)
        if config.min_sync > -1 and row["status"] == OK:
            levels[row["segment_id"]] = np.asarray(row["rms_db"], np.float32)
    face: dict[str, dict[str, Any]] = {}
    tracks: dict[str, np.ndarray] = {}
    for row in faces:
        where = row["segment_id"]
        if where in rows.index:
            face[where], track = _of_face(row, config)
            if track is not None and (why := _of_another(row, levels.get(where), frame_period, frame_size, config)):
                face[where], track = _no_face(why, face[where]["valid_ratio"]), None
            if track is not None:
                tracks[where] = track
    missing_sound = {"t1_stat": np.nan, "t1_reason": "no acoustic features"}
    missing_face = _no_face("no faces table row")
    found = [{**sound.get(i, missing_sound), **face.get(i, missing_face)} for i in rows.index]
    return Measured(rows.join(pd.DataFrame(found, index=rows.index)), tracks)


def _of_sound(row: Mapping[str, Any], period: float, config: LabelsConfig) -> dict[str, Any]:
    task = config.energy_variation
    if row["status"] != OK:
        return {"t1_stat": np.nan, "t1_reason": row["reason"]}
    voiced = np.asarray(row["voiced"], bool)
    if voiced.sum() * period < task.min_voiced:
        return {"t1_stat": np.nan, "t1_reason": f"less than {task.min_voiced:g} s of voiced speech"}
    value = energy_variation(np.asarray(row["rms_db"]), voiced, statistic=task.statistic)
    # Voiced frames that never follow each other have a spread but no change.
    reason = None if np.isfinite(value) else "no two voiced frames in a row"
    return {"t1_stat": value, "t1_reason": reason}


def _no_face(reason: str, ratio: float = 0.0) -> dict[str, Any]:
    statistics = dict.fromkeys(("t2_stat", "t2_mouth", "t2_rest"), np.nan)
    return {**statistics, "valid_ratio": ratio, "t2_reason": reason, "t3_reason": reason}


def _of_another(
    row: Mapping[str, Any], level: np.ndarray | None, period: float, size: float, config: LabelsConfig
) -> str | None:
    """Say why a face seems not to be the speaker's; None where it does or nobody asks."""
    talk = row.get("talk_score")
    if talk is not None and talk < config.min_talk:
        return f"the face does not move as the sound does: talk_score {talk:.3f}, labels.min_talk {config.min_talk:g}"
    if config.min_sync <= -1:
        return None
    if level is None:
        return "no sound to compare the mouth with (labels.min_sync)"
    valid, time = np.asarray(row["valid"], bool), np.asarray(row["time"], np.float64)
    lips = from_steps(row)[:, list(LIPS), :2].astype(np.float64)
    mouth = np.where(valid, np.linalg.norm(lips[:, 0] - lips[:, 1], axis=1), np.nan)
    sync = correspondence(np.interp(time, np.arange(len(level)) * period + size / 2, level), mouth)
    if np.isnan(sync):
        return (
            "mouth and speech cannot be compared (labels.min_sync): too few frames with a face, or one of them is still"
        )
    if sync >= config.min_sync:
        return None
    return f"mouth and speech do not go together: correlation {sync:.3f}, labels.min_sync {config.min_sync:g}"


def _of_face(row: Mapping[str, Any], config: LabelsConfig) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return the T2 statistics, and the action units of the valid frames if there are enough of them for T3."""
    if row["status"] != OK:
        return _no_face(row["reason"]), None
    task = config.facial_activation
    valid, time = np.asarray(row["valid"], bool), np.asarray(row["time"], np.float64)
    ratio = float(valid.mean())
    if ratio < config.min_valid_ratio:
        return _no_face(f"a face in {ratio:.0%} of the frames, {config.min_valid_ratio:.0%} needed", ratio), None
    seconds = ratio * (len(time) * float(np.median(np.diff(time))) if len(time) > 1 else 0.0)
    if seconds < config.min_valid_seconds:
        return _no_face(f"a face for {seconds:.2f} s, {config.min_valid_seconds:g} s needed", ratio), None
    activation = facial_activation(
        from_steps(row),
        time,
        valid,
        smooth=task.smooth,
        max_step=task.max_step,
        max_jump=task.max_jump,
        shot=np.asarray(row["shot"]),
    )
    value = getattr(activation, task.region)
    found = {
        "t2_stat": value,
        "t2_mouth": activation.mouth,
        "t2_rest": activation.rest,
        "valid_ratio": ratio,
        "t2_reason": None if np.isfinite(value) else "no two frames close enough in time",
        "t3_reason": None,
    }
    track = np.asarray(row["aus"]).reshape(len(valid), -1)[valid]
    return found, track[np.isfinite(track).all(axis=1)]
