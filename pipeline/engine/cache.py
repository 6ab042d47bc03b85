"""Finished items, one small Arrow file each, under the key of everything that determines their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.engine.files import replace_file
from pipeline.engine.tables import row_table


class Cache:
    """Rows of one stage, each under its content key."""

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
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.schema, options=options) as writer:
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
