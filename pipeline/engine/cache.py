"""Finished items, one small Arrow file each, under the key of everything that determines their numbers."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.engine.files import replace_file
from pipeline.engine.tables import row_table

HASH_BYTES = 32  # SHA-256 of the rest, at the start of the file


class Cache:
    """Rows of one stage, each under its content key, with a checksum.

    Whatever cannot be read, or is not what was written, counts as absent: it is computed anew.
    """

    def __init__(self, root: Path, stage: str, schema: pa.Schema) -> None:
        # Absolute: a worker of a remote cluster was started in a folder of its own.
        self.root = (Path(root) / stage).absolute()
        self._folder = str(self.root)
        self.schema = schema

    def path(self, key: str) -> Path:
        """Return where the row with this key lies or would lie."""
        return Path(self._name(key))

    def write(self, key: str, row: dict[str, Any]) -> None:
        """Store one row (missing columns become null).

        Raises:
            InputError: the disk is full, read-only or closed.
        """
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, self.schema, options=options) as writer:
            writer.write_table(row_table(row, self.schema))
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
        fields = None if columns is None else [self.schema.get_field_index(name) for name in columns]
        try:
            data = self.path(key).read_bytes()
            content = memoryview(data)[HASH_BYTES:]
            if hashlib.sha256(content).digest() != data[:HASH_BYTES]:
                return None
            options = pa.ipc.IpcReadOptions(included_fields=fields)
            table = pa.ipc.open_file(pa.py_buffer(content), options=options).read_all()
        except (pa.ArrowException, OSError):
            return None
        wanted = self.schema if fields is None else pa.schema([self.schema.field(i) for i in sorted(fields)])
        return table if table.schema.equals(wanted) and table.num_rows == 1 else None

    def exists(self, key: str) -> bool:
        """Return whether something lies under this key; what it is shows when it is read."""
        return os.path.exists(self._name(key))  # noqa: PTH110 - a million of them: Path takes most of the time

    def _name(self, key: str) -> str:
        return f"{self._folder}/{key[:2]}/{key}.arrow"

    def remove(self, key: str) -> None:
        """Remove what lies under this key, if anything."""
        path = self.path(key)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)

    def has(self, key: str) -> bool:
        """Return whether a whole and sound row lies under this key."""
        return self.read(key, self.schema.names[:1]) is not None

    def size(self, key: str) -> int:
        """Return the size of a stored row in bytes, 0 if absent."""
        try:
            return os.stat(self._name(key)).st_size - HASH_BYTES  # noqa: PTH116 - as above
        except FileNotFoundError:
            return 0
