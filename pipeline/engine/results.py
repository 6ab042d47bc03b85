"""The rows of a stage after a run, and what of them failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.contracts import OK, QUARANTINED
from pipeline.engine.cache import Cache
from pipeline.engine.packing import Row, row_table, write_parts
from pipeline.engine.worker import Failure
from pipeline.errors import InputError


class Damaged(Exception):
    """Rows of the cache are not what was written; they were removed, so that the next `compute` makes them anew."""


@dataclass
class Results(Sequence[Row]):
    """Rows of a stage: on disk in the cache, except those that failed in a way worth trying again.

    As a sequence: what `pipeline.engine.packing.write_parts` wants of each row, in the order of ``keys``.
    """

    cache: Cache
    keys: dict[str, str]  # item id -> key of its row
    failed: dict[str, Failure] = field(default_factory=dict)  # by item id
    id_column: str = "segment_id"
    reasons: dict[str, str] = field(default_factory=dict)  # of the quarantined rows that were read so far, by item id
    all_read: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Row]:
        return (self._row(item_id, key) for item_id, key in self.keys.items())

    def __getitem__(self, place: Any) -> Any:
        """Return the row at a place."""
        item_id = self._ids[place]
        return self._row(item_id, self.keys[item_id])

    @cached_property
    def _ids(self) -> list[str]:
        return list(self.keys)

    def _row(self, item_id: str, key: str) -> Row:
        return item_id, partial(self.row, item_id), self.cache.size(key)

    def row(self, item_id: str) -> pa.Table:
        """Return the one-row table of an item.

        Raises:
            Damaged: it is not what was written.
        """
        if item_id in self.failed:
            row = {self.id_column: item_id, "status": QUARANTINED, "reason": self.failed[item_id].reason}
            return row_table(row, self.cache.schema)
        table = self.cache.read(self.keys[item_id])
        if table is None:
            self.cache.remove(self.keys[item_id])
            raise Damaged(item_id)
        if table["status"][0].as_py() != OK:
            self.reasons[item_id] = table["reason"][0].as_py()
        # The key is of the content, so equal content under two names shares a row: name it here.
        index = table.schema.get_field_index(self.id_column)
        return table.set_column(index, table.schema.field(index), pa.array([item_id], pa.string()))

    def quarantined(self) -> dict[str, str]:
        """Return item id -> reason of all rows that are not usable; reads them, unless `sound` saw to it."""
        if not self.all_read:
            for item_id in self.keys:
                self.row(item_id)
        return {**{item_id: failure.reason for item_id, failure in self.failed.items()}, **self.reasons}

    def write(self, folder: Path, *, metadata: dict[str, Any]) -> None:
        """Pack the rows into a table folder of Parquet parts.

        Raises:
            Damaged: a row of the cache is not what was written.
        """
        write_parts(folder, self, schema=self.cache.schema, metadata=metadata)

    def add_failed(self, failed: Mapping[str, Failure]) -> None:
        """Take in what was not worth computing, by item id."""
        self.failed |= failed
        self.keys |= dict.fromkeys(failed, "")
        self.__dict__.pop("_ids", None)

    def remove_damaged(self) -> None:
        """Remove all rows of the cache that are not what was written."""
        for key in self.keys.values():
            if key and not self.cache.has(key):
                self.cache.remove(key)


def sound(make: Callable[[], Results], use: Callable[[Results], object]) -> Results:
    """Make results and use them; where rows turn out damaged, make those anew and use the results once more.

    That a row is there is seen at once; whether it is what was written, only when it is read, and a million of
    them are read once: by ``use``, which reads every row.

    Raises:
        InputError: somebody damages them faster than they are made.
    """
    for _ in range(2):
        results = make()
        try:
            use(results)
            results.all_read = True
            return results
        except Damaged:
            results.remove_damaged()
    raise InputError(f"the cache under {results.cache.root} changed during the run; start the stage again")


def check_failures(stage: str, results: Results, *, max_failed_share: float) -> None:
    """Print what was quarantined and fail the stage if it is too much, or not for good; the rest is safe in the cache.

    Raises:
        InputError: the share of quarantined items is above ``max_failed_share``, or some failed by a passing fault of
            the machine: then the stage must not count as done.
    """
    bad = results.quarantined()
    total = len(results.keys)
    print(f"{stage}: {total - len(bad)} of {total} ok, {len(bad)} quarantined", flush=True)
    for item_id, reason in sorted(bad.items())[:10]:
        print(f"  {item_id}: {reason}")
    if len(bad) > 10:
        print(f"  ... and {len(bad) - 10} more; the table has them all")
    if total and len(bad) / total > max_failed_share:
        raise InputError(
            f"{stage}: {len(bad)} of {total} items were quarantined, more than run.max_failed_share = "
            f"{max_failed_share:g}; the reasons are above and in the table"
        )
    passing = sorted(item_id for item_id, failure in results.failed.items() if failure.passing)
    if passing:
        some = ", ".join(passing[:3]) + (", ..." if len(passing) > 3 else "")
        raise InputError(
            f"{stage}: {len(passing)} of {total} items failed for passing reasons (missing, forbidden, slow, changed, "
            f"killed): {some}. The table is written, and what is finished is kept: run the stage again (dvc repro) to "
            "try these, or take clips that can never work out of the manifest"
        )
