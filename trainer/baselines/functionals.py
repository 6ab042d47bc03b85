"""Reading functionals: one vector a segment and feature set, lined up with the rows of the shards.

The table is no part of the shards (contract 1; its metadata hold the feature names of every set), so that what only the
baselines need neither swells the shards nor touches a network's results.
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
from pydantic import BaseModel

from trainer.data.metadata import FeatureNames
from trainer.data.parts import open_part, read_part, reading
from trainer.data.shards import Shards
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


FEATURES = "features"  # the set that comes from the shards themselves


def of_frames(shards: Shards) -> Functionals:
    """Return mean and deviation over time of the features in the shards: what a network hears, without its order."""
    values = np.concatenate([shards.mean, np.sqrt(shards.m2 / shards.lengths[:, None])], axis=1)
    names = tuple(f"{name}_{what}" for what in ("mean", "std") for name in shards.feature_names)
    return Functionals(FEATURES, values, names)


class _Set(BaseModel):
    feature_names: FeatureNames


class _Metadata(BaseModel):
    """Metadata of a part of the functionals."""

    sets: dict[str, _Set]


def open_functionals(folder: str | Path, segment_ids: pd.Series, sets: tuple[str, ...]) -> dict[str, Functionals]:
    """Read the chosen ``sets`` and line them up with ``segment_ids``.

    Raises:
        InputError: the folder or a set is missing, vectors do not have the length of their names or are no numbers, or
            no segment is one of the shards; names file and remedy.
    """
    folder = Path(folder)
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise InputError(
            f"no functionals (part-*.parquet) in {folder}: run `dvc repro functionals`, or copy that folder to where "
            "the shards are"
        )
    names = _names(parts, sets)
    place = {segment: row for row, segment in enumerate(segment_ids)}
    values = {name: np.full((len(place), len(columns)), np.nan) for name, columns in names.items()}
    for part in parts:
        with reading(part):
            table = open_part(part).read(columns=["segment_id", "status", *sets])
        for cells in zip(*table.columns, strict=True):
            segment, status = (cell.as_py() for cell in cells[:2])
            if status == "ok" and segment in place:
                for name, vector in zip(sets, cells[2:], strict=True):
                    where = f"{part}, segment {segment!r}, {name}"
                    values[name][place[segment]] = _vector(vector, len(names[name]), where)
    found = {name: Functionals(name, values[name], names[name]) for name in sets}
    for name, one in found.items():
        if not one.present.any():
            raise InputError(f"{folder}: no segment of the shards has {name}: rebuild both from the same segments")
    return found


def _names(parts: list[Path], sets: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Read the feature names of every chosen set; refuse parts that lack one or disagree."""
    first: dict[str, tuple[str, ...]] = {}
    for part in parts:
        schema, metadata, _ = read_part(part, _Metadata, columns=("segment_id", "status"))
        described = metadata.sets
        missing = [name for name in sets if name not in described or name not in schema.names]
        if missing:
            raise InputError(
                f"{part} holds no {', '.join(missing)}: add it to functionals.sets and run `dvc repro functionals`, "
                "or take it out of baselines.features"
            )
        names = {name: described[name].feature_names for name in sets}
        wrong = [name for name in sets if not pa.types.is_list(schema.field(name).type)]
        if wrong:
            raise InputError(f"{part}: column(s) {', '.join(wrong)} hold no lists: rebuild the functionals")
        first = first or names
        if names != first:
            raise InputError(f"{part} differs from {parts[0]} in its features: rebuild the functionals")
    return first


def _vector(value: Any, size: int, where: str) -> Matrix:
    vector = np.asarray(value.values if value.is_valid else [], dtype=np.float64)
    if len(vector) != size:
        raise InputError(f"{where}: {len(vector)} values, expected {size}; rebuild the functionals")
    if not np.isfinite(vector).all():
        raise InputError(f"{where}: holds NaN or infinity; rebuild the functionals of this segment")
    return vector
