"""The pseudo-label stage: statistics a segment, thresholds fitted on train rows, one plain table for people."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import contracts
from pipeline.engine import OK
from pipeline.labels import emotion, thresholds
from pipeline.labels.config import LabelsConfig
from pipeline.labels.statistics import energy_variation, facial_activation
from pipeline.params import Params
from pipeline.progress import progress
from pipeline.stages import DATA, table, usable_segments
from pipeline.store import iter_rows, parts, read_metadata, row_table, write_json, write_parts

FOLDER = DATA / "pseudo_labels"
FITTED = DATA / "thresholds.json"
NAME = "unlabelled"


def run_pseudo_labels(params: Params) -> None:
    """Write ``data/pseudo_labels`` and, beside it, ``data/thresholds.json``."""
    config = params.labels
    rows = pd.DataFrame(usable_segments(NAME)).set_index("segment_id", drop=False).sort_index()
    rows = rows[["segment_id", "clip_id", "corpus", "speaker", "split"]].copy()
    fitted: dict[str, Any] = {}
    _task1(rows, config, fitted)
    tracks = _face_statistics(rows, config)
    _task2(rows, config, fitted)
    emotions = _task3(rows, tracks, config, fitted)
    schema = contracts.pseudo_labels(emotions)
    records = [{key: _plain(row[key]) for key in schema.names} for row in rows.to_dict("records")]
    loaders = [(row["segment_id"], partial(row_table, row, schema), 512) for row in records]
    metadata = {
        "stage": "pseudo_labels",
        "config": config.model_dump(mode="json"),
        "units": {
            "t1_stat": "dB",
            "t2_stat": "inter-ocular distances a second",
            "t3_*": "train standard deviations above the speaker's typical face",
        },
    }
    write_parts(FOLDER, loaders, schema=schema, metadata=metadata)
    write_json(FITTED, fitted)


def _plain(value: Any) -> Any:
    return None if value is None or (isinstance(value, float) and np.isnan(value)) else value


def _task1(rows: pd.DataFrame, config: LabelsConfig, fitted: dict[str, Any]) -> None:
    task = config.energy_variation
    period = read_metadata(table("acoustics", NAME))["frame_period"]
    rows["t1_stat"], rows["t1_reason"] = np.nan, "no acoustic features"
    for row in iter_rows(table("acoustics", NAME), ["segment_id", "status", "reason", "rms_db", "voiced"]):
        where = row["segment_id"]
        if row["status"] != OK:
            rows.loc[where, "t1_reason"] = row["reason"]
        elif row["voiced"].sum() * period < task.min_voiced:
            rows.loc[where, "t1_reason"] = f"less than {task.min_voiced:g} s of voiced speech"
        else:
            rows.loc[where, "t1_stat"] = energy_variation(row["rms_db"], row["voiced"], statistic=task.statistic)
    fitted["t1"] = thresholds.fit(rows, "t1_stat", task.threshold)
    _label(rows, "t1", "t1_stat", fitted["t1"], task.threshold.scope)


def _label(rows: pd.DataFrame, task: str, statistic: str, fitted: dict[str, list[float]], scope: str) -> None:
    rows[f"{task}_label"] = thresholds.apply(rows, statistic, fitted, scope)
    has_value, has_label = rows[statistic].notna(), rows[f"{task}_label"].notna()
    rows.loc[has_value & ~has_label, f"{task}_reason"] = "between the thresholds (dead zone)"
    rows.loc[has_label, f"{task}_reason"] = None


def _face_statistics(rows: pd.DataFrame, config: LabelsConfig) -> dict[str, np.ndarray]:
    """Fill the T2 statistics; return the action units of the valid frames of every segment good enough for T3."""
    task = config.facial_activation
    tracks: dict[str, np.ndarray] = {}
    for column in ("t2_stat", "t2_mouth", "t2_rest"):
        rows[column] = np.nan
    rows["valid_ratio"] = 0.0
    rows["t2_reason"] = "no faces table row"
    with progress("face statistics", len(rows)) as ticker:
        for row in iter_rows(table("faces", NAME)):
            ticker.advance()
            where = row["segment_id"]
            if row["status"] != OK:
                rows.loc[where, "t2_reason"] = row["reason"]
                continue
            valid = row["valid"].astype(bool)
            rows.loc[where, "valid_ratio"] = ratio = float(valid.mean())
            if ratio < config.min_valid_ratio:
                rows.loc[where, "t2_reason"] = (
                    f"a face in {ratio:.0%} of the frames, {config.min_valid_ratio:.0%} needed"
                )
                continue
            activation = facial_activation(
                row["landmarks"].reshape(len(valid), -1, 3),
                row["time"],
                valid,
                smooth=task.smooth,
                max_step=task.max_step,
                max_jump=task.max_jump,
            )
            rows.loc[where, ["t2_mouth", "t2_rest"]] = activation.mouth, activation.rest
            rows.loc[where, "t2_stat"] = getattr(activation, task.region)
            rows.loc[where, "t2_reason"] = "no two frames close enough in time"
            tracks[where] = row["aus"].reshape(len(valid), -1)[valid]
    rows["t3_reason"] = rows["t2_reason"].where(~rows.index.isin(list(tracks)), None)
    return tracks


def _task2(rows: pd.DataFrame, config: LabelsConfig, fitted: dict[str, Any]) -> None:
    task = config.facial_activation
    fitted["t2"] = thresholds.fit(rows, "t2_stat", task.threshold)
    _label(rows, "t2", "t2_stat", fitted["t2"], task.threshold.scope)


def _task3(
    rows: pd.DataFrame, tracks: dict[str, np.ndarray], config: LabelsConfig, fitted: dict[str, Any]
) -> list[str]:
    """Fill scores, label and confidence; return the emotions scored."""
    task = config.au_emotion
    # The faces table says which units its backend reads and how far each can be trusted.
    about = read_metadata(table("faces", NAME))
    units, trust = about["aus"], about["au_reliability"]
    names, matrix = emotion.rule_matrix(task.rules, units, trust, contrast=task.contrast)
    baselines = _baselines(rows, tracks, task.baseline_segments)
    # The scale makes units of different size comparable; it is the spread around the speaker's own face.
    train = [tracks[i] - baselines[i] for i in tracks if rows.at[i, "split"] == "train"]
    scale = np.concatenate(train).std(axis=0) if train else np.ones(len(units))
    scale = np.where(scale > 1e-6, scale, 1.0)
    fitted["t3"] = {
        "aus": units,
        "scale": [float(s) for s in scale],
        "emotions": names,
        "weights": matrix.round(6).tolist(),
    }
    for name in names:
        rows[f"t3_{name}"] = np.nan
    rows["t3_label"], rows["t3_confidence"] = None, np.nan
    rows["t3_label"] = rows["t3_label"].astype(object)
    for where, aus in tracks.items():
        scores = emotion.soft_scores(aus, baseline=baselines[where], scale=scale, matrix=matrix, summary=task.summary)
        label, confidence = emotion.decide(scores, names, floor=task.floor)
        rows.loc[where, [f"t3_{name}" for name in names]] = scores
        rows.loc[where, "t3_confidence"] = confidence
        if confidence >= task.min_confidence:
            rows.loc[where, "t3_label"] = label
        else:
            rows.loc[where, "t3_reason"] = f"margin {confidence:.2f} below labels.au_emotion.min_confidence"
    return names


def _baselines(rows: pd.DataFrame, tracks: dict[str, np.ndarray], min_segments: int) -> dict[str, np.ndarray]:
    """Return the typical face a segment is compared with: its speaker's median, else its corpus' (train) median."""
    found = rows[rows.index.isin(list(tracks))]
    typical: dict[str, np.ndarray] = {}
    for _, corpus_rows in found.groupby("corpus"):
        train = corpus_rows[corpus_rows["split"] == "train"]
        pool = train if len(train) else corpus_rows
        corpus_face = np.median([np.median(tracks[i], axis=0) for i in pool.index], axis=0)
        for _, speaker_rows in corpus_rows.groupby("speaker"):
            own = [np.median(tracks[i], axis=0) for i in speaker_rows.index]
            face = np.median(own, axis=0) if len(own) >= min_segments else corpus_face
            typical |= dict.fromkeys(speaker_rows.index, face)
    return typical


def read_labels(folder: Path = FOLDER) -> pd.DataFrame:
    """Return the pseudo-label table as people read it."""
    return pd.read_parquet(parts(folder)[0].parent)
