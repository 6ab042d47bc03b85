"""Tables of functionals for tests of the baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.trainer.conftest import N_FEATURES

Rows = list[dict[str, Any]]


def write_functionals(folder: Path, rows: Rows, *, missing: tuple[str, ...] = (), **metadata: Any) -> Path:
    """Mean (egemaps) and mean with deviation (compare) of the frames, under the functionals contract."""
    mean = [f"mean{number}" for number in range(N_FEATURES)]
    names = {"egemaps": mean, "compare": mean + [name.replace("mean", "std") for name in mean]}
    content = {"contract": 1, "sets": {name: {"feature_names": columns} for name, columns in names.items()}} | metadata
    records = []
    for row in reversed(rows):  # its order is not the shards'
        frames = np.array(row["features"]).reshape(-1, N_FEATURES)
        both = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
        bad = row["segment_id"] in missing
        records.append(
            {
                "segment_id": row["segment_id"],
                "status": "quarantined" if bad else "ok",
                "reason": "too short" if bad else None,
                "egemaps": None if bad else both[:N_FEATURES].tolist(),
                "compare": None if bad else both.tolist(),
            }
        )
    vector = pa.list_(pa.float32())
    text = [(name, pa.string()) for name in ("segment_id", "status", "reason")]
    table = pa.Table.from_pylist(records, schema=pa.schema([*text, ("egemaps", vector), ("compare", vector)]))
    folder.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata({b"avser": json.dumps(content).encode()})
    pq.write_table(table.slice(0, 20), folder / "part-000.parquet")
    pq.write_table(table.slice(20), folder / "part-001.parquet")
    return folder
