"""Tables: folders of Parquet parts, what people and later stages read.

A table is packed from the cache (``pipeline.engine.cache``) in a fixed order, so equal input gives equal bytes. The
file `CHECKSUMS` in its folder names the parts and their SHA-256 (``sha256sum -c`` reads it, pandas passes it over), so
that a part that is lost or damaged is noticed before anything is made from it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.engine.content import hash_file, known_hash, signature
from pipeline.engine.files import replace_folder
from pipeline.errors import InputError

CONTRACT_VERSION = 1
METADATA_KEY = b"avser"
CHECKSUMS = "_SHA256SUMS"
# One part holds a few hundred MB at most (compressed); at least this many parts, so that a small change
# to a small corpus leaves most files untouched.
PART_BYTES = 256 * 2**20
MIN_PARTS = 4
ROW_GROUP_BYTES = 16 * 2**20
ROW_GROUP_ROWS = 1024
SMALL_ROW_BYTES = 512

Row = tuple[str, Callable[[], pa.Table], int]
"""Segment id, loader of its one-row table, rough size in bytes."""


def row_table(row: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """Return a one-row table of this schema; columns missing from ``row`` are null, unknown ones an error."""
    unknown = set(row) - set(schema.names)
    if unknown:
        raise KeyError(f"columns not in the schema: {sorted(unknown)}")
    arrays = []
    for field in schema:
        value = row.get(field.name)
        if value is not None and pa.types.is_list(field.type) and hasattr(value, "dtype"):
            values = pa.array(value, type=field.type.value_type)
            arrays.append(pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values, type=field.type))
        else:
            arrays.append(pa.array([value], type=field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def part_of(segment_id: str, n_parts: int) -> int:
    """Return the part a row belongs to: by the hash of its id, so that a new row moves no other row."""
    return int(hashlib.sha256(segment_id.encode()).hexdigest()[:8], 16) % n_parts


def write_parts(
    folder: Path, rows: Sequence[Row], *, schema: pa.Schema, metadata: dict[str, Any], together: int | None = None
) -> None:
    """Write a table folder of Parquet parts, replacing the old one as a whole.

    Args:
        folder: where ``part-NNN.parquet`` files go.
        rows: in any order.
        schema: Arrow schema of the rows.
        metadata: what the file says of itself, stored as JSON under the schema key ``avser``.
        together: parts of the table that the rows are loaded from. With more parts here than there, those that share
            one there are filled side by side, so that it is read once. None: no such table.
    """
    total = sum(size for _, _, size in rows)
    n_parts = max(MIN_PARTS, 2 ** math.ceil(math.log2(max(1, total / PART_BYTES))))
    described = schema.with_metadata(schema_metadata(metadata))
    rounds = math.gcd(n_parts, together or n_parts)  # both are powers of two, unless somebody wrote a table by hand
    buckets: list[list[Row]] = [[] for _ in range(rounds)]
    for row in sorted(rows, key=lambda row: row[0]):
        buckets[part_of(row[0], rounds)].append(row)

    def write(temporary: Path) -> None:
        for first, bucket in enumerate(buckets):
            with ExitStack() as stack:
                open_parts = {
                    number: stack.enter_context(_Part(temporary / f"part-{number:03d}.parquet", described))
                    for number in range(first, n_parts, rounds)
                }
                for segment_id, load, size in bucket:
                    open_parts[part_of(segment_id, n_parts)].add(load(), size)
        sums = [f"{hash_file(path)}  {path.name}\n" for path in sorted(temporary.iterdir())]
        (temporary / CHECKSUMS).write_text("".join(sums), encoding="utf-8")

    replace_folder(folder, write)


class _Part:
    """A Parquet file that is filled row by row; a context."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.group: list[pa.Table] = []
        self.size = 0
        self.writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_byte_stream_split=split_columns(schema),
            use_dictionary=_strings(schema),
        )

    def add(self, row: pa.Table, size: int) -> None:
        self.group.append(row)
        self.size += size
        if self.size >= ROW_GROUP_BYTES or len(self.group) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self.group:
            self.writer.write_table(pa.concat_tables(self.group).combine_chunks().cast(self.schema))
        self.group, self.size = [], 0

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is None:
            self._flush()
        self.writer.close()


def write_rows(folder: Path, rows: Iterable[dict[str, Any]], *, schema: pa.Schema, metadata: dict[str, Any]) -> None:
    """Write small rows, dicts with a ``segment_id``, as a table folder; see `write_parts`."""
    loaders = [(row["segment_id"], partial(row_table, row, schema), SMALL_ROW_BYTES) for row in rows]
    write_parts(folder, loaders, schema=schema, metadata=metadata)


def split_columns(schema: pa.Schema) -> list[str]:
    """Return the columns whose bytes are split into streams before zstd: half of them hardly vary."""
    return [
        f"{field.name}.list.element"
        for field in schema
        if pa.types.is_list(field.type) and pa.types.is_floating(field.type.value_type)
    ]


def _strings(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_string(field.type)]


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
