"""Where tables lie, who writes to them, and reading their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from pipeline.contracts import OK
from pipeline.engine.content import Signature, signature
from pipeline.engine.files import remove_leftovers
from pipeline.engine.identity import digest, identity
from pipeline.engine.storage import cannot_write
from pipeline.engine.tables import parts, read_metadata, read_table
from pipeline.errors import InputError

DATA = Path("data")


def table(stage: str, name: str) -> Path:
    """Return the folder of a stage's table for one set."""
    return DATA / stage / name


@contextmanager
def writing(folder: Path, cache: Path) -> Iterator[None]:
    """Let one run at a time make the table ``folder``; the others wait, and then find the work done.

    Args:
        folder: the table.
        cache: folder of finished items, which holds the locks: a file in ``data`` would be an output to DVC.

    Raises:
        InputError: the lock cannot be made, since the disk is full, read-only or closed.
    """
    path = cache / "locks" / f"{digest(str(folder.resolve()))[:16]}.lock"
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"another run is making {folder}: waiting for it to end", flush=True)
            lock.acquire()
    except OSError as error:
        raise cannot_write(path.parent, error) from error
    try:
        remove_leftovers(folder)
        yield
    finally:
        lock.release()


def describe(stage: str, extractor: Any) -> dict[str, Any]:
    """Return what a table folder says of itself."""
    return {"stage": stage, "identity": identity(extractor), **extractor.metadata()}


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dicts with None where a value is missing."""
    return [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in rows.to_dict("records")]


def usable_segments(name: str) -> list[dict[str, Any]]:
    """Return the ok rows of the segments table."""
    rows = read_table(table("segments", name))
    return records(rows[rows["status"] == OK])


def fingerprint(segments: list[dict[str, Any]]) -> str:
    """Return a hash of which stretches of which content have which ids: what a table of segments was made from."""
    columns = ("segment_id", "content_hash", "start", "end")
    return digest(sorted([row[name] for name in columns] for row in segments))


def check_made_from(folder: Path, segments: list[dict[str, Any]]) -> None:
    """Make sure that a table was made from these segments, and not from those of an earlier manifest or film.

    Raises:
        InputError: it was not, or there is no such table.
    """
    made_from = read_metadata(folder).get("segments")
    if made_from is not None and made_from != fingerprint(segments):
        raise InputError(f"{folder} was made from other segments than those of today; make it again (dvc repro)")


@lru_cache(maxsize=16)  # tables of different size are read side by side: one row group of each part in turn
def _row_group(path: Path, group: int, _seen: Signature) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group)


def _one_row(path: Path, seen: Signature, group: int, index: int) -> pa.Table:
    try:
        if signature(path) == seen:
            return _row_group(path, group, seen).slice(index, 1)
    except FileNotFoundError:
        pass
    raise InputError(f"{path} was replaced while it was read; what is finished is kept: run the stage again")


def index_rows(folder: Path, *, ok_only: bool) -> Iterator[tuple[str, Callable[[], pa.Table]]]:
    """Yield (segment id, loader of its one-row table) without reading the wide columns yet.

    Rows come in file order, so that loading them in that order reads each row group once.
    """
    for path in map(Path.resolve, parts(folder)):
        seen = signature(path)
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["segment_id", "status"])
                for index, (segment_id, status) in enumerate(zip(*(c.to_pylist() for c in ids.columns), strict=True)):
                    if status == OK or not ok_only:
                        yield segment_id, partial(_one_row, path, seen, group, index)
