"""Packing: rows to a folder of Parquet parts, one by one in a fixed order, so that equal input gives equal bytes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.engine.content import hash_file
from pipeline.engine.files import replace_folder
from pipeline.engine.tables import CHECKSUMS, schema_metadata

# One part holds a few hundred MB at most (compressed); at least this many parts, so that a small change
# to a small corpus leaves most files untouched.
PART_BYTES = 256 * 2**20
MIN_PARTS = 4
MAX_PARTS = 512  # beyond 128 GB parts grow, since a folder of thousands of files is slow to open everywhere
ROW_GROUP_BYTES = 16 * 2**20
ROW_GROUP_ROWS = 1024
SMALL_ROW_BYTES = 512

Row = tuple[str, Callable[[], pa.Table], int]
"""Segment id, loader of its one-row table, rough size in bytes."""


class LoadedRows(Sequence[Row]):
    """Rows of one rough size that are loaded by their ids."""

    def __init__(self, ids: Sequence[str], load: Callable[[str], pa.Table], size: int) -> None:
        self.ids, self.load, self.size = ids, load, size

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: Any) -> Any:
        """Return the row at a place."""
        return self.ids[place], partial(self.load, self.ids[place]), self.size


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
        rows: in any order; may make each of them when it is asked for, so that a million take no memory.
        schema: Arrow schema of the rows.
        metadata: what the file says of itself, stored as JSON under the schema key ``avser``.
        together: parts of the table that the rows are loaded from. With more parts here than there, those that share
            one there are filled side by side, so that it is read once. None: no such table.
    """
    ids, total = [], 0
    for segment_id, _, size in rows:
        ids.append(segment_id)
        total += size
    n_parts = _count_parts(total)
    described = schema.with_metadata(schema_metadata(metadata))
    rounds = math.gcd(n_parts, together or n_parts)  # both are powers of two, unless somebody wrote a table by hand
    order = _by_part(ids, rounds)

    def write(temporary: Path) -> None:
        for first, members in enumerate(order):
            with ExitStack() as stack:
                open_parts = {
                    number: stack.enter_context(_Part(temporary / f"part-{number:03d}.parquet", described))
                    for number in range(first, n_parts, rounds)
                }
                for place in members:
                    segment_id, load, size = rows[place]
                    open_parts[part_of(segment_id, n_parts)].add(load(), size)
        _write_checksums(temporary)

    replace_folder(folder, write)


def _count_parts(total: int) -> int:
    """Return how many parts hold so many bytes."""
    return min(MAX_PARTS, max(MIN_PARTS, 2 ** math.ceil(math.log2(max(1, total / PART_BYTES)))))


def _by_part(ids: Sequence[str], n_parts: int) -> list[NDArray[np.intp]]:
    """Return the places of the rows of each part, by id."""
    number = np.fromiter((part_of(segment_id, n_parts) for segment_id in ids), np.intp, len(ids))
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.intp)
    return [order[number[order] == part] for part in range(n_parts)]


def _write_checksums(folder: Path) -> None:
    sums = [f"{hash_file(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / CHECKSUMS).write_text("".join(sums), encoding="utf-8")


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

    def add_many(self, rows: pa.Table) -> None:
        """Write rows as one row group."""
        self.group.append(rows)
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


def rows_table(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return dicts as one Arrow table, a tenth of their size.

    Columns missing from a row are null, unknown ones an error.
    """
    known = set(schema.names)
    batches = []
    left = iter(rows)
    while batch := list(islice(left, ROW_GROUP_ROWS)):
        if unknown := {name for row in batch for name in row} - known:
            raise KeyError(f"columns not in the schema: {sorted(unknown)}")
        batches.append(pa.RecordBatch.from_pylist(batch, schema=schema))
    return pa.Table.from_batches(batches, schema=schema)


def write_frame(folder: Path, table: pa.Table, *, metadata: dict[str, Any]) -> None:
    """Write a table of small rows that is in memory as a table folder; see `write_parts`."""
    ids = table["segment_id"].to_pylist()
    n_parts = _count_parts(len(ids) * SMALL_ROW_BYTES)
    described = table.schema.with_metadata(schema_metadata(metadata))

    def write(temporary: Path) -> None:
        for number, members in enumerate(_by_part(ids, n_parts)):
            with _Part(temporary / f"part-{number:03d}.parquet", described) as part:
                for first in range(0, len(members), ROW_GROUP_ROWS):
                    part.add_many(table.take(members[first : first + ROW_GROUP_ROWS]))
        _write_checksums(temporary)

    replace_folder(folder, write)


def split_columns(schema: pa.Schema) -> list[str]:
    """Return the columns whose bytes are split into streams before zstd: half of them hardly vary."""
    return [
        f"{field.name}.list.element"
        for field in schema
        if pa.types.is_list(field.type) and pa.types.is_floating(field.type.value_type)
    ]


def _strings(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_string(field.type)]
