from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa

from pipeline.engine.places import index_rows
from pipeline.engine.tables import row_table, write_parts


def test_a_table_that_was_written_anew_is_read_anew(tmp_path, monkeypatch):
    # Regression: row groups were remembered by name alone, so a rewritten table came back as it was; and so did one
    # of the same relative name in another working folder.
    schema, found = pa.schema([("segment_id", pa.string()), ("status", pa.string()), ("x", pa.int64())]), []
    for number, folder in enumerate(("one", "one", "two")):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        row = {"segment_id": "a#000", "status": "ok", "x": number}
        write_parts(Path("data/t"), [("a#000", partial(row_table, row, schema), 8)], schema=schema, metadata={})
        found += [load()["x"][0].as_py() for _, load in index_rows(Path("data/t"), ok_only=True)]
    assert found == [0, 1, 2]
