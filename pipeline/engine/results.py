"""The rows of a stage after a run, and what of them failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.contracts import OK, QUARANTINED
from pipeline.engine.cache import Cache
from pipeline.engine.tables import row_table, write_parts
from pipeline.engine.worker import Failure
from pipeline.errors import InputError


@dataclass
class Results:
    """Rows of a stage: on disk in the cache, except those that failed in a way worth trying again."""

    cache: Cache
    keys: dict[str, str]  # item id -> key of its row
    failed: dict[str, Failure] = field(default_factory=dict)  # by item id
    id_column: str = "segment_id"

    def row(self, item_id: str) -> pa.Table:
        """Return the one-row table of an item."""
        if item_id in self.failed:
            row = {self.id_column: item_id, "status": QUARANTINED, "reason": self.failed[item_id].reason}
            return row_table(row, self.cache.schema)
        table = self.cache.read(self.keys[item_id])
        if table is None:
            raise InputError(f"the cache under {self.cache.root} changed during the run; start the stage again")
        # The key is of the content, so equal content under two names shares a row: name it here.
        index = table.schema.get_field_index(self.id_column)
        return table.set_column(index, table.schema.field(index), pa.array([item_id], pa.string()))

    def quarantined(self) -> dict[str, str]:
        """Return item id -> reason of all rows that are not usable."""
        found = {item_id: failure.reason for item_id, failure in self.failed.items()}
        for item_id in self.keys.keys() - self.failed.keys():
            row = self.cache.read(self.keys[item_id], ["status", "reason"])
            if row is not None and row["status"][0].as_py() != OK:
                found[item_id] = row["reason"][0].as_py()
        return found

    def write(self, folder: Path, *, metadata: dict[str, Any]) -> None:
        """Pack the rows into a table folder of Parquet parts."""
        rows = [(item_id, partial(self.row, item_id), self.cache.size(key)) for item_id, key in self.keys.items()]
        write_parts(folder, rows, schema=self.cache.schema, metadata=metadata)


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
