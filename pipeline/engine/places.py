"""Where tables lie, who writes to them, and reading their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pipeline.contracts import OK
from pipeline.engine.content import Signature, signature
from pipeline.engine.files import remove_leftovers
from pipeline.engine.identity import digest, digest_rows, identity
from pipeline.engine.storage import cannot_write
from pipeline.engine.tables import parts, read_metadata
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


class Segments(Sequence[dict[str, Any]]):
    """Rows of a segments table, kept as an Arrow table: as dicts a million of them would take gigabytes."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows.combine_chunks()

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Segments:
        """Return dicts as such a table; what its schema does not name is kept too."""
        return cls(pa.Table.from_pylist([dict(row) for row in rows]))

    def __len__(self) -> int:
        return self.rows.num_rows

    def __getitem__(self, place: Any) -> Any:
        """Return the row at a place, or those of a slice; None where a value is missing."""
        if isinstance(place, slice):
            return self.rows.take(np.arange(len(self))[place]).to_pylist()
        return self.rows.slice(range(len(self))[place], 1).to_pylist()[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.rows.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    def by_id(self, segment_id: str) -> dict[str, Any]:
        """Return the row of a segment."""
        return self[self._places.get_loc(segment_id)]

    @cached_property
    def _places(self) -> pd.Index[Any]:
        return pd.Index(self.rows["segment_id"].to_pylist(), dtype=object)


def usable_segments(name: str) -> Segments:
    """Return the ok rows of the segments table, in the order of their parts."""
    return Segments(
        ds.dataset(parts(table("segments", name)), format="parquet").to_table(filter=ds.field("status") == OK)
    )


def fingerprint(segments: Segments) -> str:
    """Return a hash of which stretches of which content have which ids: what a table of segments was made from."""
    facts = segments.rows.select(["segment_id", "content_hash", "start", "end"])
    facts = facts.take(pc.sort_indices(facts, sort_keys=[("segment_id", "ascending")]))
    return digest_rows(list(row.values()) for row in Segments(facts))


def check_made_from(folder: Path, segments: Segments) -> None:
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


class Rows(Mapping[str, pa.Table]):
    """Rows of a table folder by segment id, each a table of one row that is read when it is asked for.

    Ids come in file order, so that rows read in that order read each row group once.

    Args:
        folder: the table.
        ok_only: leave quarantined rows out.

    Raises:
        InputError: there is no table, or a part is missing or damaged; or it was replaced since, when a row is read.
    """

    def __init__(self, folder: Path, *, ok_only: bool) -> None:
        self._files = [(path, signature(path)) for path in map(Path.resolve, parts(folder))]
        ids: list[str] = []
        places: list[NDArray[np.int32]] = []  # file, row group, row in the group
        for number, (path, _) in enumerate(self._files):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    found = file.read_row_group(group, columns=["segment_id", "status"])
                    rows = np.arange(found.num_rows, dtype=np.int32)
                    if ok_only:
                        rows = rows[pc.equal(found["status"], OK).to_numpy()]
                    ids += found["segment_id"].take(rows).to_pylist()
                    places.append(np.stack([np.full_like(rows, number), np.full_like(rows, group), rows], axis=1))
        self._ids = pd.Index(ids, dtype=object)
        self._places = np.concatenate(places) if places else np.zeros((0, 3), np.int32)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __contains__(self, segment_id: object) -> bool:
        return segment_id in self._ids

    def __getitem__(self, segment_id: str) -> pa.Table:
        number, group, index = self._places[self._ids.get_loc(segment_id)].tolist()
        path, seen = self._files[number]
        return _one_row(path, seen, group, index)
