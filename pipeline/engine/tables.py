"""Tables: folders of Parquet parts, what people and later stages read.

A table is packed from the cache (``pipeline.engine.cache``) in a fixed order, so equal input gives equal bytes. The
file `CHECKSUMS` in its folder names the parts and their SHA-256 (``sha256sum -c`` reads it, pandas passes it over), so
that a part that is lost or damaged is noticed before anything is made from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.engine.content import known_hash, signature
from pipeline.errors import InputError

CONTRACT_VERSION = 1
METADATA_KEY = b"avser"
CHECKSUMS = "_SHA256SUMS"


def schema_metadata(metadata: dict[str, Any]) -> dict[bytes, bytes]:
    """Return schema metadata that states the contract version and whatever the stage says of its columns."""
    value = {"contract": CONTRACT_VERSION, **metadata}
    return {METADATA_KEY: json.dumps(value, sort_keys=True, ensure_ascii=False).encode()}


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what a table folder, or one Parquet file, says of itself (contract version, stage, config, names, units).

    Raises:
        InputError: the folder holds no part.
    """
    schema = pq.read_schema(path if path.is_file() else parts(path)[0])
    return json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))


def parts(folder: Path) -> list[Path]:
    """Return the Parquet parts of a table folder in order, each with the bytes that were written.

    Raises:
        InputError: there is no table, or a part is missing or damaged.
    """
    folder = Path(folder)
    wrong: Path | None = folder
    for _ in range(2):  # a table that is replaced in between is looked at once more
        found = sorted(folder.glob("part-*.parquet"))
        if not found:
            raise InputError(f"{folder} holds no part-*.parquet; run the stage that makes it (dvc repro)")
        if (wrong := _damaged(folder, found)) is None:
            return found
    raise InputError(
        f"{wrong} is missing or damaged: it is not what was written; delete {folder} and run the stage that makes it "
        "again (dvc repro)"
    )


def _damaged(folder: Path, found: list[Path]) -> Path | None:
    """Return the first file that is not as `CHECKSUMS` says; a table without one is taken as it is."""
    sums = folder / CHECKSUMS
    try:
        lines = [line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines()]
        wanted = {folder / name: checksum for checksum, name in lines}
    except FileNotFoundError:
        return None
    except ValueError:
        return sums
    for path in sorted({*wanted, *found}):
        try:
            if known_hash(str(path.resolve()), signature(path)) != wanted.get(path):
                return path
        except FileNotFoundError:
            return path
    return None


def read_table(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table folder, or some of its columns, for pandas.

    Raises:
        InputError: there is no table, or a part is missing or damaged.
    """
    parts(folder)
    return pd.read_parquet(folder, columns=None if columns is None else list(columns))


def iter_rows(folder: Path, columns: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table folder one by one; list columns come as numpy arrays, one row group in memory."""
    names = list(columns) if columns is not None else None
    for path in parts(folder):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=names)
                for index in range(table.num_rows):
                    yield _row(table, index)


def read_row(folder: Path, segment_id: str) -> dict[str, Any] | None:
    """Return one row of a table folder as `iter_rows` gives it, None if it is not there."""
    found = ds.dataset(parts(folder), format="parquet").to_table(filter=ds.field("segment_id") == segment_id)
    return _row(found, 0) if found.num_rows else None


def read_column(folder: Path, name: str) -> dict[str, Any]:
    """Return segment id -> value of one column of a table folder."""
    table = pq.read_table(parts(folder), columns=["segment_id", name])
    return dict(zip(table["segment_id"].to_pylist(), table[name].to_pylist(), strict=True))


def _row(table: pa.Table, index: int) -> dict[str, Any]:
    return {name: _value(table.column(name), index) for name in table.column_names}


def _value(column: pa.ChunkedArray, index: int) -> Any:
    scalar = column[index]
    if not scalar.is_valid:
        return None
    return scalar.values.to_numpy(zero_copy_only=False) if pa.types.is_list(column.type) else scalar.as_py()
