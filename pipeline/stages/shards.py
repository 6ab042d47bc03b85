"""Stages ``shards_*``: features and labels of one set in the only files that the trainer reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipeline import contracts
from pipeline.engine.packing import LoadedRows, row_table, write_parts
from pipeline.engine.places import Rows, Segments, check_made_from, table, usable_segments, writing
from pipeline.engine.tables import parts, read_metadata
from pipeline.errors import InputError
from pipeline.front_end.grid import COMBINED, combine, feature_grid
from pipeline.front_end.record import describe_front_end
from pipeline.labels.tracks import DenseConfig, Floats, dense_targets, face_row, track_names, track_units
from pipeline.params import Params
from pipeline.stages.pseudo_labels import FOLDER, label_rows

ROW_BYTES = 220_000  # a segment of a few seconds of low-level descriptors, compressed: sizes the parts
LABEL_COLUMNS = ["segment_id", "t1_label", "t1_stat", "t2_label", "t2_stat", "t3_label", "t3_confidence"]
# Statistics that become labels by a threshold, and the part of section labels that says how: where the trainer leaves
# speakers out, it fits the thresholds anew.
FITTED = {"t1_stat": "energy_variation", "t2_stat": "facial_activation"}


class FrameColumns(Protocol):
    """Columns on the frames of the features that a recipe's own shards carry in place of the dense targets."""

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
    folder = folder or table("shards", name)
    with writing(folder, params.run.folder):
        count = _write_shards(params, name, more=more, folder=folder)
    print(f"shards {folder.name}: {count} segments")


def _write_shards(params: Params, name: str, *, more: FrameColumns | None, folder: Path) -> int:
    column = params.shards.features
    acoustics, audio = (read_metadata(table(stage, name)) for stage in ("acoustics", "audio"))
    pseudo = name == "unlabelled"
    usable = usable_segments(name)
    for made in (table("acoustics", name), *((FOLDER,) if pseudo else ())):
        check_made_from(made, usable)
    labels = Segments(label_rows(LABEL_COLUMNS)) if pseudo else None
    grid = feature_grid(acoustics, column, audio["sample_rate"])
    votes = sorted(name for name in usable.rows.column_names if name.startswith("votes_"))
    with_dense = pseudo and params.shards.dense.groups and more is None
    dense = _DenseSource.open(params.shards.dense, acoustics) if with_dense else None
    schema = contracts.shards(votes, pseudo=pseudo, dense=dense is not None, more=more.fields if more else ())

    rows = Rows(table("acoustics", name), ok_only=True)

    def join(segment_id: str) -> pa.Table:
        source, segment = rows[segment_id], usable.by_id(segment_id)
        if COMBINED in column:
            values = combine(_flat(source, column), acoustics, column, audio["sample_rate"]).ravel()
            features = pa.array([values], type=schema.field("features").type)
        else:
            features = source[column].combine_chunks()
        row: dict[str, Any] = {key: value for key, value in segment.items() if key in schema.names}
        if labels is not None:
            row |= labels.by_id(segment_id)
        row["n_frames"] = len(features.flatten()) // len(grid.names)
        times = grid.times(row["n_frames"])
        if dense is not None:
            row |= dense.columns(segment_id, source, times)
        if more is not None:
            row |= more.columns(segment, times)
        joined = row_table(row, schema)
        where = schema.get_field_index("features")
        return joined.set_column(where, schema.field(where), features)

    ids = [segment_id for segment_id in rows if more is None or more.covers(segment_id)]
    if not ids:
        raise InputError(f"no usable segment in set {name!r}: see the reasons in {table('segments', name)}")
    metadata = {
        "stage": "shards",
        "feature_names": grid.names,
        "frame_period": grid.period,
        "frame_centre": grid.centre,  # s from a frame's place on the grid to the middle of its window
        "front_end": describe_front_end(
            column, segments=read_metadata(table("segments", name)), audio=audio, acoustics=acoustics
        ),
        "config": {
            "audio": audio["identity"]["config"],
            "shards": params.shards.model_dump(mode="json"),
            "acoustics": acoustics["identity"]["config"],
        },
        "labels": str(FOLDER) if pseudo else None,
        **({"thresholds": _thresholds()} if pseudo else {}),
        **({"dense": dense.metadata()} if dense is not None else {}),
        **(more.metadata() if more is not None else {}),
    }
    sources = [len(parts(made)) for made in (table("acoustics", name), table("faces", name)) if made.is_dir()]
    write_parts(folder, LoadedRows(ids, join, ROW_BYTES), schema=schema, metadata=metadata, together=min(sources))
    return len(ids)


def _flat(source: pa.Table, column: str) -> dict[str, Any]:
    return {name: source[name].combine_chunks().flatten().to_numpy() for name in column.split(COMBINED)}


def _thresholds() -> dict[str, Any]:
    """Return statistic -> how its thresholds were fitted: quantiles, scope, fewest segments."""
    config = read_metadata(FOLDER)["config"]
    return {statistic: config[task]["threshold"] for statistic, task in FITTED.items()}


@dataclass(frozen=True)
class _DenseSource:
    """Opened faces table and level's time grid: what the dense targets of a segment are made from."""

    config: DenseConfig
    names: dict[str, list[str]]  # group -> tracks
    aus: list[str]
    faces: Mapping[str, pa.Table]  # ok rows only
    rms_period: float  # s
    rms_centre: float  # s

    @classmethod
    def open(cls, config: DenseConfig, acoustics: dict[str, Any]) -> _DenseSource:
        """Read the metadata of the faces table; a set without faces keeps the energy track."""
        folder = table("faces", "unlabelled")
        about = read_metadata(folder) if folder.is_dir() else None
        return cls(
            config=config,
            names=track_names(config, about),
            aus=about["aus"] if about else [],
            faces=Rows(folder, ok_only=True) if about else {},
            rms_period=acoustics["frame_period"],
            rms_centre=acoustics["frame_size"] / 2,
        )

    def columns(self, segment_id: str, acoustics: pa.Table, times: Floats) -> dict[str, Any]:
        """Return ``dense``, flat (n_frames x tracks), and ``av_sync``, for the middles of the frames."""
        rms = acoustics["rms_db"].combine_chunks().flatten().to_numpy()
        dense = dense_targets(
            self.names,
            self.config,
            at=times,
            rms_db=rms,
            rms_at=np.arange(len(rms)) * self.rms_period + self.rms_centre,
            face=face_row(self.faces[segment_id]) if segment_id in self.faces else None,
            aus=self.aus,
        )
        return {"dense": dense.targets.ravel(), "av_sync": None if math.isnan(dense.sync) else dense.sync}

    def metadata(self) -> dict[str, Any]:
        """Return what the shards say of the column ``dense``."""
        names = [name for members in self.names.values() for name in members]
        return {"names": names, "groups": self.names, "units": track_units(self.names)}
