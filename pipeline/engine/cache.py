"""Finished items, one small Parquet file each, under the key of everything that determines their numbers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.files import remove
from pipeline.engine.packing import row_table, split_columns
from pipeline.engine.storage import ABSENT, cannot_read
from pipeline.engine.store import Bucket, Folder

HASH_BYTES = 32  # SHA-256 of the rest, at the start of the file
_BATCH = 32  # rows that are fetched side by side: a row of faces has some MB


class Cache:
    """Rows of one stage, each under its content key, with a checksum.

    Whatever cannot be read, or is not what was written, counts as absent: it is computed anew. With a bucket workers
    write there, and ``root`` has copies for the driver: `fetch` makes them.

    Args:
        root: folder of finished items.
        stage: whose rows they are.
        schema: of a row.
        bucket: URL of an object storage that machines without a common folder share; empty: none.
    """

    def __init__(self, root: Path, stage: str, schema: pa.Schema, *, bucket: str = "") -> None:
        self.copies = Folder(Path(root) / stage)
        self.bucket = Bucket(f"{bucket.rstrip('/')}/{stage}") if bucket else None
        self._place = f"{self.copies.root}/"
        self.schema = schema

    @property
    def root(self) -> Path:
        """The stage's folder on this machine, absolute."""
        return self.copies.root

    @property
    def store(self) -> Folder | Bucket:
        """Where workers write."""
        return self.bucket or self.copies

    def path(self, key: str) -> Path:
        """Return where the row with this key lies or would lie on this machine."""
        return self.copies.path(_name(key))

    def write(self, key: str, row: dict[str, Any]) -> None:
        """Store one row (missing columns become null).

        Raises:
            InputError: the disk is full, read-only or closed, or the bucket does not take it.
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
        self.store.put(_name(key), hashlib.sha256(content).digest() + bytes(content))

    def fetch(self, keys: Sequence[str]) -> None:
        """Copy those of the rows that the bucket has to this machine; a damaged one counts as absent.

        Raises:
            InputError: the bucket does not answer, or the disk is full, read-only or closed.
        """
        if self.bucket is None:
            return
        for start in range(0, len(keys), _BATCH):
            for name, data in self.bucket.get_many([_name(key) for key in keys[start : start + _BATCH]]).items():
                if _content(data) is not None:
                    self.copies.put(name, data)

    def read(self, key: str) -> pa.Table | None:
        """Return the one-row table of this key, or None if it is absent or not what was written (then: recompute).

        Raises:
            InputError: the disk cannot be read, which says nothing of the row.
        """
        file = self._open(key)
        return file and file.read(use_threads=False)

    def has(self, key: str) -> bool:
        """Return whether a whole and sound row lies under this key."""
        return self._open(key) is not None

    def _open(self, key: str) -> pq.ParquetFile | None:
        """Open a row, None if it is not what was written, or of another schema; nothing is unfolded yet."""
        try:
            content = _content(self.path(key).read_bytes())
        except OSError as error:
            if error.errno not in ABSENT:
                raise cannot_read(self.path(key), error) from error
            return None
        if content is None:
            return None
        try:
            file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)))
        except (pa.ArrowException, OSError):
            return None
        return file if file.metadata.num_rows == 1 and file.schema_arrow.equals(self.schema) else None

    def exists(self, key: str) -> bool:
        """Return whether something lies under this key on this machine; what it is shows when it is read."""
        return os.path.exists(self._place + _name(key))  # noqa: PTH110 - of a million, Path takes most of the time

    def remove(self, key: str) -> None:
        """Remove what lies under this key, if anything."""
        remove(self.path(key))

    def size(self, key: str) -> int:
        """Return the size of a stored row in bytes, 0 if absent."""
        try:
            return os.stat(self._place + _name(key)).st_size - HASH_BYTES  # noqa: PTH116 - as in `exists`
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return 0


def _name(key: str) -> str:
    return f"{key[:2]}/{key}.row"


def _content(data: bytes) -> memoryview | None:
    """Return what was written, None where it is not that any more."""
    content = memoryview(data)[HASH_BYTES:]
    return content if hashlib.sha256(content).digest() == data[:HASH_BYTES] else None
