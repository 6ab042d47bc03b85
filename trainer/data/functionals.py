"""Reading functionals: one vector a segment and feature set, lined up with the rows of the shards.

The table lies beside the shards (contract 1, metadata key ``avser``: per set its column's feature names), so that
what only the baselines hear neither swells the shards nor touches a network's results.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.data.shards import CONTRACT
from trainer.errors import InputError

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Functionals:
    """One feature set for N shard rows: ``values`` (N, F) float64, NaN in rows that have none."""

    name: str
    values: Matrix
    feature_names: tuple[str, ...]

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which rows have a vector, (N,)."""
        return ~np.isnan(self.values[:, 0])

    def fingerprint(self, rows: npt.ArrayLike) -> str:
        """SHA-256 over names and values of chosen rows, in their order."""
        digest = hashlib.sha256(json.dumps(self.feature_names).encode())
        digest.update(np.ascontiguousarray(self.values[np.asarray(rows, dtype=np.int64)]).tobytes())
        return digest.hexdigest()


def open_functionals(folder: str | Path, segment_ids: pd.Series, sets: tuple[str, ...]) -> dict[str, Functionals]:
    """Read the chosen ``sets`` and line them up with ``segment_ids``.

    Raises InputError naming file and remedy for a missing folder, a set that the table does not hold, vectors that do
    not have the length of their names, values that are no numbers, and a table that shares no segment with the shards.
    """
    folder = Path(folder)
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise InputError(
            f"no functionals (part-*.parquet) in {folder}: run `dvc repro functionals`, or copy that folder beside the "
            "shards"
        )
    names = _names(parts, sets)
    place = {segment: row for row, segment in enumerate(segment_ids)}
    values = {name: np.full((len(place), len(columns)), np.nan) for name, columns in names.items()}
    for part in parts:
        table = pq.read_table(part, columns=["segment_id", "status", *sets])
        usable = table.column("status").to_pylist()
        for position, segment in enumerate(table.column("segment_id").to_pylist()):
            if usable[position] != "ok" or segment not in place:
                continue
            for name in sets:
                vector = _vector(table.column(name)[position], len(names[name]), f"{part}, segment {segment!r}, {name}")
                values[name][place[segment]] = vector
    found = {name: Functionals(name, values[name], names[name]) for name in sets}
    for name, one in found.items():
        if not one.present.any():
            raise InputError(f"{folder}: no segment of the shards has {name}: rebuild both from the same segments")
    return found


def _names(parts: list[Path], sets: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Read the feature names of every chosen set; refuse parts that do not say them or disagree."""
    first: dict[str, tuple[str, ...]] | None = None
    for part in parts:
        try:
            schema = pq.read_schema(part)
            metadata: dict[str, Any] = json.loads((schema.metadata or {})[b"avser"])
            contract, described = metadata["contract"], metadata["sets"]
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{part} is not a readable Parquet file ({error}): delete it and run again") from None
        except (KeyError, json.JSONDecodeError):
            raise InputError(f"{part}: schema metadata 'avser' with contract and sets is missing") from None
        if contract != CONTRACT:
            raise InputError(f"{part}: data contract {contract}, this trainer reads {CONTRACT}")
        missing = [name for name in sets if name not in described or name not in schema.names]
        if missing:
            raise InputError(
                f"{part} holds no {', '.join(missing)}: add it to functionals.sets and run `dvc repro functionals`, "
                "or take it out of baselines.features"
            )
        names = {name: tuple(described[name]["feature_names"]) for name in sets}
        first = names if first is None else first
        if names != first:
            raise InputError(f"{part} differs from {parts[0]} in its features: rebuild the functionals")
    assert first is not None
    return first


def _vector(value: Any, size: int, where: str) -> Matrix:
    vector = np.asarray(value.values if value.is_valid else [], dtype=np.float64)
    if len(vector) != size:
        raise InputError(f"{where}: {len(vector)} values, expected {size}; rebuild the functionals")
    if not np.isfinite(vector).all():
        raise InputError(f"{where}: holds NaN or infinity; rebuild the functionals of this segment")
    return vector
