"""Where tables lie, and reading their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contracts import OK
from pipeline.engine.identity import identity
from pipeline.engine.tables import parts

DATA = Path("data")


def table(stage: str, name: str) -> Path:
    """Return the folder of a stage's table for one set."""
    return DATA / stage / name


def describe(stage: str, extractor: Any) -> dict[str, Any]:
    """Return what a table folder says of itself."""
    return {"stage": stage, "identity": identity(extractor), **extractor.metadata()}


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dicts with None where a value is missing."""
    return [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in rows.to_dict("records")]


def usable_segments(name: str) -> list[dict[str, Any]]:
    """Return the ok rows of the segments table."""
    rows = pd.read_parquet(table("segments", name))
    return records(rows[rows["status"] == OK])


@lru_cache(maxsize=16)  # tables of different size are read side by side: one row group of each part in turn
def _row_group(path: Path, group: int, written: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group)


def _one_row(path: Path, group: int, index: int) -> pa.Table:
    # A table of the same name may be another one: written anew, or in another working folder.
    return _row_group(path.resolve(), group, path.stat().st_mtime_ns).slice(index, 1)


def index_rows(folder: Path, *, ok_only: bool) -> Iterator[tuple[str, Callable[[], pa.Table]]]:
    """Yield (segment id, loader of its one-row table) without reading the wide columns yet.

    Rows come in file order, so that loading them in that order reads each row group once.
    """
    for path in parts(folder):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["segment_id", "status"])
                for index, (segment_id, status) in enumerate(zip(*(c.to_pylist() for c in ids.columns), strict=True)):
                    if status == OK or not ok_only:
                        yield segment_id, partial(_one_row, path, group, index)
