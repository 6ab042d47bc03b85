"""The tables between the stages, as Arrow schemas: the contract that later stages and the trainer rely on.

One row is one segment. List columns are flat and row-major; how to fold them back is in the file's own
metadata (``pipeline.engine.tables.read_metadata``) together with names, units and the frame period.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

OK, QUARANTINED = "ok", "quarantined"

STATUS = [("status", pa.string()), ("reason", pa.string())]

# What a manifest may state of a clip apart from where it lies; carried through to the shards unchanged.
LABEL_COLUMNS = [
    ("emotion", pa.string()),
    ("label_source", pa.string()),
    ("label_rule", pa.string()),
    ("arousal", pa.float64()),
    ("valence", pa.float64()),
    ("dominance", pa.float64()),
    ("intensity", pa.float64()),
    ("level", pa.float64()),
]
ORIGIN_COLUMNS = [
    ("clip_id", pa.string()),
    ("corpus", pa.string()),
    ("speaker", pa.string()),
    ("split", pa.string()),
    ("fold", pa.string()),
]

CLIP = pa.schema(
    [
        ("clip_id", pa.string()),
        *STATUS,
        ("segments", pa.list_(pa.struct([("start", pa.float64()), ("end", pa.float64())]))),
        ("has_audio", pa.bool_()),
        ("has_video", pa.bool_()),
        ("fps", pa.float64()),
        ("sample_rate", pa.int32()),
        ("duration", pa.float64()),
    ]
)
"""Cache row of the segments stage: one clip, its cuts in seconds."""

AUDIO = pa.schema([("segment_id", pa.string()), *STATUS, ("sample_rate", pa.int32()), ("flac", pa.binary())])

ACOUSTICS = pa.schema(
    [
        ("segment_id", pa.string()),
        *STATUS,
        ("n_frames", pa.int32()),
        ("lld", pa.list_(pa.float32())),
        ("logmel", pa.list_(pa.float32())),
        ("speech_model", pa.list_(pa.float32())),
        ("rms_db", pa.list_(pa.float32())),
        ("voiced", pa.list_(pa.bool_())),
    ]
)

FUNCTIONALS = pa.schema(
    [("segment_id", pa.string()), *STATUS, ("egemaps", pa.list_(pa.float32())), ("compare", pa.list_(pa.float32()))]
)
"""One vector a segment and set; a set that params.yaml does not ask for is null."""

FACES = pa.schema(
    [
        ("segment_id", pa.string()),
        *STATUS,
        ("n_frames", pa.int32()),
        ("time", pa.list_(pa.float64())),
        ("valid", pa.list_(pa.bool_())),
        ("quality", pa.list_(pa.float32())),
        ("landmark_steps", pa.list_(pa.float16())),  # pipeline.faces.landmarks
        ("aus", pa.list_(pa.float32())),
        ("pose", pa.list_(pa.float32())),
        ("interocular", pa.list_(pa.float32())),
        ("shot", pa.list_(pa.int32())),
        ("n_faces", pa.int32()),
        ("chosen_by", pa.string()),
        ("talk_score", pa.float32()),
    ]
)


def segments(vote_columns: list[str]) -> pa.Schema:
    """Return the schema of the segments table; corpora differ in which ``votes_<emotion>`` they carry."""
    return pa.schema(
        [
            ("segment_id", pa.string()),
            *ORIGIN_COLUMNS,
            ("path", pa.string()),
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("has_audio", pa.bool_()),
            ("has_video", pa.bool_()),
            ("fps", pa.float64()),
            ("sample_rate", pa.int32()),
            ("content_hash", pa.string()),
            *LABEL_COLUMNS,
            ("sentence", pa.string()),
            ("alignment", pa.string()),
            ("language", pa.string()),
            *((name, pa.float64()) for name in vote_columns),
            *STATUS,
        ]
    )


def pseudo_labels(emotions: list[str]) -> pa.Schema:
    """Return the schema of the pseudo-label table: plain scalar columns, one T3 score an emotion."""
    return pa.schema(
        [
            ("segment_id", pa.string()),
            *ORIGIN_COLUMNS[:4],
            ("t1_stat", pa.float64()),
            ("t1_label", pa.string()),
            ("t1_reason", pa.string()),
            ("t2_stat", pa.float64()),
            ("t2_mouth", pa.float64()),
            ("t2_rest", pa.float64()),
            ("t2_label", pa.string()),
            ("t2_reason", pa.string()),
            *((f"t3_{name}", pa.float64()) for name in emotions),
            ("t3_label", pa.string()),
            ("t3_confidence", pa.float64()),
            ("t3_reason", pa.string()),
            ("valid_ratio", pa.float64()),
        ]
    )


def shards(vote_columns: list[str], *, pseudo: bool, dense: bool, more: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    """Return the schema of the shards.

    Args:
        vote_columns: ``votes_<emotion>`` columns of the set.
        pseudo: with the pseudo-labels, as in the unlabelled set, and the statistics that thresholds make T1 and T2 of
            (the rule of the thresholds is in the metadata under ``thresholds``).
        dense: also a column of targets on every frame, flat, n_frames x tracks, NaN where there is none (names, groups
            and units are in the metadata under ``dense``); and ``av_sync``, the correlation of speech level and mouth
            opening.
        more: a recipe's own columns on the frames, described in the metadata under their names.
    """
    labels = [
        ("t1_label", pa.string()),
        ("t1_stat", pa.float64()),
        ("t2_label", pa.string()),
        ("t2_stat", pa.float64()),
        ("t3_label", pa.string()),
        ("t3_confidence", pa.float64()),
    ]
    return pa.schema(
        [
            ("segment_id", pa.string()),
            *ORIGIN_COLUMNS,
            ("n_frames", pa.int32()),
            ("features", pa.list_(pa.float32())),
            *([("dense", pa.list_(pa.float32())), ("av_sync", pa.float64())] if dense else []),
            *more,
            *(labels if pseudo else []),
            *LABEL_COLUMNS,
            *((name, pa.float64()) for name in vote_columns),
        ]
    )
