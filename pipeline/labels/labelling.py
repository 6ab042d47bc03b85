"""From statistics to labels: everything fitted comes from train rows, is plain JSON, and is applied unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.labels import emotion, thresholds
from pipeline.labels.config import LabelsConfig
from pipeline.labels.measure import Measured


def fit(
    measured: Measured, config: LabelsConfig, *, units: Sequence[str], trust: Mapping[str, float]
) -> dict[str, Any]:
    """Return thresholds of T1 and T2, scales and typical faces of T3, fitted on the rows whose split is ``train``.

    The speakers' own typical faces (``speaker_face``, by corpus/speaker) are not fitted: each is that speaker's,
    whatever the split, and is taken from the rows at hand when they are labelled. They are kept for films to come.

    Args:
        measured: statistics of all segments.
        config: section ``labels``.
        units: names of the action units of ``measured.tracks``.
        trust: unit to reliability weight.
    """
    rows, task = measured.rows, config.au_emotion
    reliability = emotion.class_reliability(task.rules, trust)
    rules = {name: own for name, own in task.rules.items() if reliability[name] >= task.min_reliability}
    names, matrix = emotion.rule_matrix(rules, units, trust, contrast=task.contrast)
    typical = corpus_faces(measured)
    baselines = baselines_of(measured, typical, task.baseline_segments)
    # The scale makes units of different size comparable; it is the spread around the speaker's own face.
    train = [measured.tracks[i] - baselines[i] for i in measured.tracks if rows.at[i, "split"] == "train"]
    scale = np.concatenate(train).std(axis=0, dtype=np.float64) if train else np.ones(len(units))
    return {
        "t1": thresholds.fit(rows, "t1_stat", config.energy_variation.threshold),
        "t2": thresholds.fit(rows, "t2_stat", config.facial_activation.threshold),
        "t3": {
            "aus": list(units),
            "scale": [float(s) if s > 1e-6 else 1.0 for s in scale],
            "typical_face": {name: [float(x) for x in face] for name, face in typical.items()},
            "speaker_face": {
                name: [float(x) for x in face] for name, face in speaker_faces(measured, task.baseline_segments).items()
            },
            "emotions": names,
            "weights": matrix.round(6).tolist(),
            "reliability": {name: reliability[name] for name in names},
        },
    }


def label(
    measured: Measured,
    fitted: Mapping[str, Any],
    config: LabelsConfig,
    *,
    baselines: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """Return ``measured.rows`` with the labels, the T3 scores and confidence, and why a label is missing.

    Args:
        measured: statistics of all segments.
        fitted: from `fit`.
        config: section ``labels``.
        baselines: segment id to the typical face it is compared with; None: `baselines_of` the rows at hand.
    """
    rows = measured.rows.copy()
    for task, statistic, threshold in (
        ("t1", "t1_stat", config.energy_variation.threshold),
        ("t2", "t2_stat", config.facial_activation.threshold),
    ):
        rows[f"{task}_label"] = thresholds.apply(rows, statistic, fitted[task], threshold.scope)
        unlabelled = rows[statistic].notna() & rows[f"{task}_label"].isna()
        rows.loc[unlabelled, f"{task}_reason"] = "between the thresholds (dead zone)"
    if baselines is None:
        typical = {name: np.array(face) for name, face in fitted["t3"]["typical_face"].items()}
        baselines = baselines_of(measured, typical, config.au_emotion.baseline_segments)
    return _emotions(rows, measured, fitted["t3"], config, baselines)


def _emotions(
    rows: pd.DataFrame,
    measured: Measured,
    fitted: Mapping[str, Any],
    config: LabelsConfig,
    baselines: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    task, names = config.au_emotion, fitted["emotions"]
    scale, matrix = np.array(fitted["scale"]), np.array(fitted["weights"]).reshape(len(names), -1)
    scores = np.full((len(rows), len(names)), np.nan)
    confidences = np.full(len(rows), np.nan)
    labels: list[str | None] = [None] * len(rows)
    reasons = rows["t3_reason"].tolist()
    for where, aus in measured.tracks.items():
        place = rows.index.get_loc(where)
        scores[place] = emotion.soft_scores(
            aus, baseline=baselines[where], scale=scale, matrix=matrix, summary=task.summary
        )
        found, confidence = emotion.decide(scores[place], names, floor=task.floor)
        confidences[place] = confidence
        if confidence >= task.min_confidence:
            labels[place] = found
        else:
            reasons[place] = f"margin {confidence:.2f} below labels.au_emotion.min_confidence"
    rows = rows.assign(**{f"t3_{name}": scores[:, i] for i, name in enumerate(names)}, t3_confidence=confidences)
    return rows.assign(
        t3_label=pd.Series(labels, index=rows.index, dtype=object),
        t3_reason=pd.Series(reasons, index=rows.index, dtype=object),
    )


def corpus_faces(measured: Measured) -> dict[str, np.ndarray]:
    """Return corpus -> its typical face: median over segments (train ones, if there are any) of their medians."""
    found = measured.rows.loc[list(measured.tracks)]
    faces: dict[str, np.ndarray] = {}
    for corpus, rows in found.groupby("corpus"):
        train = rows[rows["split"] == "train"]
        pool = train if len(train) else rows
        faces[str(corpus)] = np.median([np.median(measured.tracks[i], axis=0) for i in pool.index], axis=0)
    return faces


def baselines_of(measured: Measured, typical: Mapping[str, np.ndarray], min_segments: int) -> dict[str, np.ndarray]:
    """Return the typical face a segment is compared with: its speaker's median, else its corpus' typical face."""
    faces = speaker_faces(measured, min_segments)
    found = measured.rows.loc[list(measured.tracks)]
    baselines: dict[str, np.ndarray] = {}
    for (corpus, speaker), rows in found.groupby(["corpus", "speaker"]):
        baselines |= dict.fromkeys(rows.index, faces.get(f"{corpus}/{speaker}", typical[str(corpus)]))
    return baselines


def speaker_faces(measured: Measured, min_segments: int) -> dict[str, np.ndarray]:
    """Return corpus/speaker -> the median over segments of their medians, of speakers with ``min_segments``."""
    found = measured.rows.loc[list(measured.tracks)]
    return {
        f"{corpus}/{speaker}": np.median([np.median(measured.tracks[i], axis=0) for i in rows.index], axis=0)
        for (corpus, speaker), rows in found.groupby(["corpus", "speaker"])
        if len(rows) >= min_segments
    }
