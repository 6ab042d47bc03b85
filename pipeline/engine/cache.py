"""Finished items, one small Parquet file each, under the key of everything that determines their numbers."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.files import replace_file
from pipeline.engine.tables import row_table, split_columns

HASH_BYTES = 32  # SHA-256 of the rest, at the start of the file


class Cache:
    """Rows of one stage, each under its content key, with a checksum.

    Whatever cannot be read, or is not what was written, counts as absent: it is computed anew.
    """

    def __init__(self, root: Path, stage: str, schema: pa.Schema) -> None:
        # Absolute: a worker of a remote cluster was started in a folder of its own.
        self.root = (Path(root) / stage).absolute()
        self.schema = schema

    def path(self, key: str) -> Path:
        """Return where the row with this key lies or would lie."""
        return self.root / key[:2] / f"{key}.row"

    def write(self, key: str, row: dict[str, Any]) -> None:
        """Store one row (missing columns become null).

        Raises:
            InputError: the disk is full, read-only or closed.
        """
        sink = pa.BufferOutputStream()
        # As in the tables: bytes of floats that are split into streams take a fifth less than an Arrow file's.
        pq.write_table(
            row_table(row, self.schema),
            sink,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=split_columns(self.schema),
            write_statistics=False,
        )
        content = sink.getvalue()
        path = self.path(key)
        if path.is_dir():
            shutil.rmtree(path)

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)

        replace_file(path, write)

    def read(self, key: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Return the one-row table of this key, or None if it is absent or unreadable (then: recompute)."""
        file = self._open(key)
        return file and file.read(columns=None if columns is None else list(columns), use_threads=False)

    def has(self, key: str) -> bool:
        """Return whether a whole and sound row lies under this key."""
        return self._open(key) is not None

    def _open(self, key: str) -> pq.ParquetFile | None:
        """Open a row, None if it is not what was written, or of another schema; nothing is unfolded yet."""
        try:
            data = self.path(key).read_bytes()
            content = memoryview(data)[HASH_BYTES:]
            if hashlib.sha256(content).digest() != data[:HASH_BYTES]:
                return None
            file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)))
        except (pa.ArrowException, OSError):
            return None
        return file if file.metadata.num_rows == 1 and file.schema_arrow.equals(self.schema) else None

    def size(self, key: str) -> int:
        """Return the size of a stored row in bytes, 0 if absent."""
        path = self.path(key)
        return path.stat().st_size - HASH_BYTES if path.exists() else 0
