"""What the tables and the film say of one segment, and why it got its labels: the content of one picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.contracts import OK
from pipeline.engine.places import table
from pipeline.engine.tables import iter_rows, read_metadata, read_row, read_table
from pipeline.errors import InputError
from pipeline.labels.labelling import baselines_of
from pipeline.labels.measure import Measured
from pipeline.params import Params
from pipeline.stages.pseudo_labels import FITTED, NAME, read_labels

N_FRAMES = 6


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that is drawn of one segment: its rows of the tables, and what they are compared with.

    ``face`` also has ``relative``, (n_frames, n_units): how far each action unit is above the speaker's typical face,
    in training standard deviations; NaN: no face.
    """

    segment: dict[str, Any]
    face: dict[str, Any]
    sound: dict[str, Any]  # its row of the acoustics table
    labels: pd.Series
    all_labels: pd.DataFrame  # the whole table, for the place of the segment among all
    fitted: dict[str, Any]  # thresholds and scales
    frame_period: float  # s between frames of the acoustics


def gather(params: Params, name: str) -> Evidence:
    """Collect what the tables say of a segment (or of a clip's first)."""
    segment = find_segment(name)
    where = segment["segment_id"]
    if not FITTED.exists():
        raise InputError(f"{FITTED} not found: run the pseudo-labels stage (dvc repro)")
    fitted = json.loads(FITTED.read_text(encoding="utf-8"))
    all_labels = read_labels().set_index("segment_id", drop=False)
    face = _row("faces", where)
    if face["status"] == OK:
        aus = face["aus"].reshape(face["n_frames"], -1).astype(np.float64)
        typical = _typical_face(all_labels, where, fitted, params.labels.au_emotion.baseline_segments)
        relative = (aus - typical) / np.array(fitted["t3"]["scale"])
        face["relative"] = np.where(face["valid"].astype(bool)[:, None], relative, np.nan)
    return Evidence(
        segment,
        face,
        _row("acoustics", where),
        all_labels.loc[where],
        all_labels,
        fitted,
        read_metadata(table("acoustics", NAME))["frame_period"],
    )


def _typical_face(all_labels: pd.DataFrame, where: str, fitted: dict[str, Any], min_segments: int) -> np.ndarray:
    """Return the face that the segment is compared with, found as the labels find it."""
    own = all_labels.loc[where]
    of_speaker = all_labels[(all_labels["corpus"] == own["corpus"]) & (all_labels["speaker"] == own["speaker"])]
    # Only segments good enough for T3 count, and the segment itself so that it can be drawn.
    scored = {*of_speaker.index[of_speaker["t3_confidence"].notna()], where}
    tracks = {}
    for row in iter_rows(table("faces", NAME), ["segment_id", "valid", "aus"]):
        if row["segment_id"] in scored and row["valid"] is not None:
            valid = row["valid"].astype(bool)
            tracks[row["segment_id"]] = row["aus"].astype(np.float64).reshape(len(valid), -1)[valid]
    typical = {corpus: np.array(face) for corpus, face in fitted["t3"]["typical_face"].items()}
    return baselines_of(Measured(of_speaker, tracks), typical, min_segments)[where]


def find_segment(name: str) -> dict[str, Any]:
    """Return the row of a segment id, or of the first segment of a clip id.

    Raises:
        InputError: there is none, or it was quarantined (the message says why).
    """
    rows = read_table(table("segments", NAME)).sort_values("segment_id")
    found = rows[(rows["segment_id"] == name) | (rows["clip_id"] == name)]
    if found.empty:
        raise InputError(f"no segment or clip {name!r} in {table('segments', NAME)}")
    row: dict[str, Any] = {str(key): value for key, value in found.iloc[0].items()}
    if row["status"] != OK:
        raise InputError(f"{name} was quarantined: {row['reason']}")
    return row


def _row(stage: str, segment_id: str) -> dict[str, Any]:
    missing = {"status": "missing", "reason": f"not in the {stage} table: run dvc repro"}
    return read_row(table(stage, NAME), segment_id) or missing


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """One frame: s from the segment's start, picture (h, w, 3), points (478, 3) in its pixels or NaN."""

    time: float
    image: np.ndarray
    points: np.ndarray


def sample_frames(params: Params, segment: dict[str, Any]) -> list[SampledFrame]:
    """Return frames at even distances with the points that the configured backend finds in them."""
    from pipeline.faces.backends import BACKENDS
    from pipeline.faces.tracking.talking import sound_of
    from pipeline.media import frames

    if not segment["has_video"]:
        return []
    path, config = params.sets.unlabelled.root / segment["path"], params.faces
    start = segment["start"]
    shown = list(frames(path, start=start, end=segment["end"], max_fps=config.max_fps, max_height=config.max_height))
    if not shown:
        return []
    sound = sound_of(path, start=start, end=segment["end"])
    track = BACKENDS[config.backend](config)(iter(shown), sound)
    chosen = np.linspace(0, len(shown) - 1, N_FRAMES).round().astype(int)
    return [SampledFrame(shown[i].time - start, shown[i].image, track.points[i]) for i in chosen]
