"""Parquet parts that appear whole or not at all, and a cache keyed by content.

Two places hold rows. The *cache* has one small Arrow file per item, named by the hash of everything that
determines its numbers; it is what makes a killed run resume. A *table* is a folder of Parquet parts, what
people and later stages read; it is packed from the cache in a fixed order, so equal input gives equal bytes.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError

CONTRACT_VERSION = 1
METADATA_KEY = b"avser"
# One part holds a few hundred MB at most (compressed); at least this many parts, so that a small change
# to a small corpus leaves most files untouched.
PART_BYTES = 256 * 2**20
MIN_PARTS = 4
ROW_GROUP_BYTES = 16 * 2**20


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a JSON-able value in canonical form.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _strip_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body:
            continue
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


@cache
def code_digest(modules: tuple[str, ...]) -> str:
    """Return a hash of the code of ``modules`` that comments, docstrings and layout do not change.

    A cache that outlives a change of the code is stale in the worst way: silently. A package name stands for
    all the modules directly inside it.
    """
    files: dict[str, Path] = {}
    for name in modules:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module {name!r} to fingerprint")
        origin = Path(spec.origin)
        for path in sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]:
            files[f"{name}/{path.name}"] = path
    trees = {key: ast.dump(_strip_docstrings(ast.parse(path.read_text()))) for key, path in sorted(files.items())}
    return digest(trees)


def identity(extractor: Any) -> dict[str, Any]:
    """Return everything about an extractor that may change its numbers: config, code, library and tool versions."""
    return {
        "extractor": type(extractor).__name__,
        "config": extractor.config.model_dump(mode="json"),
        "code": code_digest(tuple(extractor.modules)),
        "packages": {name: importlib.metadata.version(name) for name in extractor.packages},
        "metadata": extractor.metadata(),  # names the external tools, such as the ffmpeg binary
    }


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary neighbour of ``path``, sync it, and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)


class Cache:
    """Rows of one stage, one Arrow file each, under their content key."""

    def __init__(self, root: Path, stage: str, schema: pa.Schema) -> None:
        self.root = Path(root) / stage
        self.schema = schema

    def path(self, key: str) -> Path:
        """Return where the row with this key lies or would lie."""
        return self.root / key[:2] / f"{key}.arrow"

    def attempt(self, key: str) -> Path:
        """Return the mark that says a worker has begun this item (to explain its death)."""
        return self.root / key[:2] / f"{key}.attempt"

    def write(self, key: str, row: dict[str, Any]) -> None:
        """Store one row (missing columns become null)."""
        table = row_table(row, self.schema)

        def write(path: Path) -> None:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with (
                pa.OSFile(str(path), "wb") as sink,
                pa.ipc.new_file(sink, self.schema, options=options) as writer,
            ):
                writer.write_table(table)

        replace_file(self.path(key), write)

    def read(self, key: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Return the one-row table of this key, or None if it is absent or unreadable (then: recompute)."""
        path = self.path(key)
        if not path.exists():
            return None
        fields = None if columns is None else [self.schema.get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        try:
            with pa.memory_map(str(path)) as source:
                table = pa.ipc.open_file(source, options=options).read_all()
        except (pa.ArrowInvalid, OSError):
            return None
        wanted = self.schema if fields is None else pa.schema([self.schema.field(i) for i in sorted(fields)])
        return table if table.schema.equals(wanted) and table.num_rows == 1 else None

    def has(self, key: str) -> bool:
        """Return whether a whole row lies under this key; reads only its first column and its footer."""
        return self.read(key, self.schema.names[:1]) is not None

    def size(self, key: str) -> int:
        """Return the size of a stored row in bytes, 0 if absent."""
        path = self.path(key)
        return path.stat().st_size if path.exists() else 0


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
    folder: Path,
    rows: Sequence[tuple[str, Callable[[], pa.Table], int]],
    *,
    schema: pa.Schema,
    metadata: dict[str, Any],
) -> None:
    """Write a table folder of Parquet parts, replacing the old one as a whole.

    Args:
        folder: where ``part-NNN.parquet`` files go.
        rows: (segment id, loader of its one-row table, rough size in bytes), any order.
        schema: Arrow schema of the rows.
        metadata: what the file says of itself, stored as JSON under the schema key ``avser``.

    """
    total = sum(size for _, _, size in rows)
    n_parts = max(MIN_PARTS, 2 ** math.ceil(math.log2(max(1, total / PART_BYTES))))
    described = schema.with_metadata(describe(metadata))
    buckets: list[list[tuple[str, Callable[[], pa.Table], int]]] = [[] for _ in range(n_parts)]
    for row in sorted(rows, key=lambda row: row[0]):
        buckets[part_of(row[0], n_parts)].append(row)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for number, bucket in enumerate(buckets):
        path = temporary / f"part-{number:03d}.parquet"
        with pq.ParquetWriter(
            path,
            described,
            compression="zstd",
            use_byte_stream_split=_floats(schema),
            use_dictionary=_strings(schema),
        ) as writer:
            for group in _row_groups(bucket):
                writer.write_table(pa.concat_tables(load() for _, load, _ in group).combine_chunks().cast(described))
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _row_groups(bucket: list[tuple[str, Callable[[], pa.Table], int]]) -> Iterator[list]:
    group: list = []
    size = 0
    for row in bucket:
        group.append(row)
        size += row[2]
        if size >= ROW_GROUP_BYTES or len(group) >= 1024:
            yield group
            group, size = [], 0
    if group:
        yield group


def _floats(schema: pa.Schema) -> list[str]:
    # Splitting float bytes into streams before zstd makes landmark and feature columns a third smaller.
    return [
        f"{field.name}.list.element"
        for field in schema
        if pa.types.is_list(field.type) and pa.types.is_floating(field.type.value_type)
    ]


def _strings(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_string(field.type)]


def describe(metadata: dict[str, Any]) -> dict[bytes, bytes]:
    """Return schema metadata that states the contract version and whatever the stage says of its columns."""
    value = {"contract": CONTRACT_VERSION, **metadata}
    return {METADATA_KEY: json.dumps(value, sort_keys=True, ensure_ascii=False).encode()}


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return what a table folder says of itself (contract version, stage, config, names, units).

    Raises:
        InputError: the folder holds no part.

    """
    schema = pq.read_schema(parts(folder)[0])
    return json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))


def parts(folder: Path) -> list[Path]:
    """Return the Parquet parts of a table folder in order."""
    found = sorted(Path(folder).glob("part-*.parquet"))
    if not found:
        raise InputError(f"{folder} holds no part-*.parquet; run the stage that makes it (dvc repro)")
    return found


def iter_rows(folder: Path, columns: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table folder one by one; list columns come as numpy arrays, one row group in memory."""
    names = list(columns) if columns is not None else None
    for path in parts(folder):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=names)
                for index in range(table.num_rows):
                    yield {name: _value(table.column(name), index) for name in table.column_names}


def _value(column: pa.ChunkedArray, index: int) -> Any:
    scalar = column[index]
    if not scalar.is_valid:
        return None
    return scalar.values.to_numpy(zero_copy_only=False) if pa.types.is_list(column.type) else scalar.as_py()
