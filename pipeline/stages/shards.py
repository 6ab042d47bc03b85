"""The shard stage: features and labels of one set in the only files that the trainer reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import contracts
from pipeline.engine.tables import read_metadata, row_table, write_parts
from pipeline.errors import InputError
from pipeline.labels.tracks import Dense, DenseConfig, Floats, dense_targets, face_row, track_names, track_units
from pipeline.params import Params
from pipeline.stages.places import index_rows, table, usable_segments
from pipeline.stages.pseudo_labels import FOLDER, read_labels

ROW_BYTES = 220_000  # a segment of a few seconds of low-level descriptors, compressed: sizes the parts
TASK_COLUMNS = ["t1_label", "t2_label", "t3_label", "t3_confidence"]


class FrameColumns(Protocol):
    """Further columns on the frames of the features: what a recipe's own shards carry in place of the dense targets."""

    fields: tuple[tuple[str, pa.DataType], ...]

    def covers(self, segment_id: str) -> bool:
        """Tell whether a segment belongs into these shards."""
        ...

    def columns(self, segment: Mapping[str, Any], at: Floats) -> dict[str, Any]:
        """Return name -> flat values for a row of the segments table and the times of its frames, s."""
        ...

    def metadata(self) -> dict[str, Any]:
        """Return what the shards say of the columns, by name."""
        ...


def run_shards(params: Params, name: str, *, more: FrameColumns | None = None, folder: Path | None = None) -> None:
    """Join acoustics with segments (and pseudo-labels for the unlabelled set); no feature, no row.

    Args:
        params: all parameters.
        name: the set.
        more: a recipe's own columns; the dense targets are then left out.
        folder: where to write; None: the set's own shards.

    Raises:
        InputError: the wanted features are not in the acoustics table, or no segment is left.

    """
    column = params.shards.features
    source = read_metadata(table("acoustics", name))
    pseudo = name == "unlabelled"
    segments = {row["segment_id"]: row for row in usable_segments(name)}
    labels = read_labels().set_index("segment_id")[TASK_COLUMNS] if pseudo else None
    feature_names, period = _grid(source, column, params)
    votes = sorted({key for row in segments.values() for key in row if key.startswith("votes_")})
    teacher = _Teacher.open(params, source) if pseudo and params.shards.dense.groups and not more else None
    schema = contracts.shards(
        votes, pseudo=pseudo, dense=teacher is not None, more=more.fields if more is not None else ()
    )
    centre = _centre(source, column, params)

    def join(segment_id: str, load: Callable[[], pa.Table]) -> pa.Table:
        acoustics = load()
        features = acoustics[column].combine_chunks()
        row: dict[str, Any] = {key: value for key, value in segments[segment_id].items() if key in schema.names}
        if labels is not None:
            row |= {str(k): None if pd.isna(v) else v for k, v in labels.loc[segment_id].items()}
        row["n_frames"] = len(features.flatten()) // len(feature_names)
        if teacher is not None:
            dense = teacher.targets(segment_id, acoustics, row["n_frames"])
            row |= {"dense": dense.targets.ravel(), "av_sync": None if math.isnan(dense.sync) else dense.sync}
        if more is not None:
            row |= more.columns(segments[segment_id], np.arange(row["n_frames"]) * period + centre)
        joined = row_table(row, schema)
        where = schema.get_field_index("features")
        return joined.set_column(where, schema.field(where), features)

    found = index_rows(table("acoustics", name), ok_only=True)
    rows = [
        (segment_id, partial(join, segment_id, load), ROW_BYTES)
        for segment_id, load in found
        if more is None or more.covers(segment_id)
    ]
    if not rows:
        raise InputError(f"no usable segment in set {name!r}: see the reasons in {table('segments', name)}")
    metadata = {
        "stage": "shards",
        "feature_names": feature_names,
        "frame_period": period,
        "frame_centre": centre,  # s from a frame's place on the grid to the middle of what it looks at
        "config": {
            "audio": params.audio.model_dump(mode="json"),
            "shards": params.shards.model_dump(mode="json"),
            "acoustics": source["identity"]["config"],
        },
        "labels": str(FOLDER) if pseudo else None,
        **({"dense": teacher.metadata()} if teacher is not None else {}),
        **(more.metadata() if more is not None else {}),
    }
    folder = folder or table("shards", name)
    write_parts(folder, rows, schema=schema, metadata=metadata)
    print(f"shards {folder.name}: {len(rows)} segments")


@dataclass(frozen=True)
class _Teacher:
    """Opened faces table and time grid: what the dense targets of a segment are made from."""

    config: DenseConfig
    names: dict[str, list[str]]
    aus: list[str]
    faces: dict[str, Callable[[], pa.Table]]  # ok rows only
    period: float  # s between feature frames
    centre: float  # s from a feature frame's begin to its middle
    rms_period: float
    rms_centre: float

    @classmethod
    def open(cls, params: Params, source: dict[str, Any]) -> _Teacher:
        """Read what acoustics and faces tables say of themselves; a set without faces keeps the energy track."""
        config = params.shards.dense
        folder = table("faces", "unlabelled")
        about = read_metadata(folder) if folder.is_dir() else None
        return cls(
            config=config,
            names=track_names(config, about),
            aus=about["aus"] if about else [],
            faces=dict(index_rows(folder, ok_only=True)) if about else {},
            period=_grid(source, params.shards.features, params)[1],
            centre=_centre(source, params.shards.features, params),
            rms_period=source["frame_period"],
            rms_centre=source["frame_size"] / 2,
        )

    def targets(self, segment_id: str, acoustics: pa.Table, n_frames: int) -> Dense:
        """Return (n_frames, K) targets and the correspondence of voice and mouth."""
        rms = acoustics["rms_db"].combine_chunks().flatten().to_numpy()
        face: dict[str, Any] | None = None
        if segment_id in self.faces:
            face = face_row(self.faces[segment_id]())
        return dense_targets(
            self.names,
            self.config,
            at=np.arange(n_frames) * self.period + self.centre,
            rms_db=rms,
            rms_at=np.arange(len(rms)) * self.rms_period + self.rms_centre,
            face=face,
            aus=self.aus,
        )

    def metadata(self) -> dict[str, Any]:
        """Return what the shards say of the column."""
        names = [name for members in self.names.values() for name in members]
        return {"names": names, "groups": self.names, "units": track_units(self.names)}


def _centre(source: dict[str, Any], column: str, params: Params) -> float:
    """Return the seconds from a frame's place on the grid to the middle of what it looks at."""
    if column == "lld":
        return float(source["frame_size"]) / 2
    if column == "logmel":
        return 0.0  # mel frames are centred on k * hop
    return float(source[column]["frame_size_samples"]) / 2 / params.audio.sample_rate


def _grid(source: dict[str, Any], column: str, params: Params) -> tuple[list[str], float]:
    """Return the names of the chosen features and the seconds between their frames."""
    if column == "lld":
        return source["feature_names"], source["frame_period"]
    if column not in source:
        how = "acoustics.logmel to true" if column == "logmel" else "acoustics.speech_model.path"
        raise InputError(f"shards.features is {column!r}, which the acoustics table lacks: set {how}")
    described = source[column]
    period = described["frame_period_samples"] / params.audio.sample_rate
    if column == "logmel":
        return [f"mel_{band:03d}" for band in range(described["bands"])], period
    return [f"{column}_{value:04d}" for value in range(described["n_features"])], period
