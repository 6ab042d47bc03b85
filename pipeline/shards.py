"""The shard stage: features and labels of one set in the only files that the trainer reads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline import contracts
from pipeline.errors import InputError
from pipeline.params import Params
from pipeline.pseudo_labels import FOLDER, read_labels
from pipeline.stages import index_rows, table, usable_segments
from pipeline.store import read_metadata, row_table, write_parts

ROW_BYTES = 200_000  # a segment of a few seconds of low-level descriptors, compressed: sizes the parts
TASK_COLUMNS = ["t1_label", "t2_label", "t3_label", "t3_confidence"]


def run_shards(params: Params, name: str) -> None:
    """Join acoustics with segments (and pseudo-labels for the unlabelled set); no feature, no row.

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
    schema = contracts.shards(votes, pseudo=pseudo)

    def join(segment_id: str, load: Callable[[], pa.Table]) -> pa.Table:
        acoustics = load()
        features = acoustics[column].combine_chunks()
        row: dict[str, Any] = {key: value for key, value in segments[segment_id].items() if key in schema.names}
        if labels is not None:
            row |= {str(k): None if pd.isna(v) else v for k, v in labels.loc[segment_id].items()}
        row["n_frames"] = len(features.flatten()) // len(feature_names)
        joined = row_table(row, schema)
        where = schema.get_field_index("features")
        return joined.set_column(where, schema.field(where), features)

    found = index_rows(table("acoustics", name), ok_only=True)
    rows = [(segment_id, partial(join, segment_id, load), ROW_BYTES) for segment_id, load in found]
    if not rows:
        raise InputError(f"no usable segment in set {name!r}: see the reasons in {table('segments', name)}")
    metadata = {
        "stage": "shards",
        "feature_names": feature_names,
        "frame_period": period,
        "config": {
            "shards": params.shards.model_dump(mode="json"),
            "acoustics": source["identity"]["config"],
        },
        "labels": str(FOLDER) if pseudo else None,
    }
    write_parts(table("shards", name), rows, schema=schema, metadata=metadata)
    print(f"shards {name}: {len(rows)} segments")


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
