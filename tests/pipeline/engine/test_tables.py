from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.packing import part_of, row_table, write_parts
from pipeline.engine.tables import iter_rows, parts, read_metadata
from pipeline.errors import InputError

SCHEMA = pa.schema([("segment_id", pa.string()), ("x", pa.list_(pa.float32())), ("n", pa.int32())])


def loaders(rows):
    return [(row["segment_id"], lambda row=row: row_table(row, SCHEMA), 100) for row in rows]


def test_parts_open_in_pandas_and_describe_themselves(tmp_path):
    rows = [{"segment_id": f"s{i}", "x": np.arange(i, dtype=np.float32), "n": i} for i in range(50)]
    write_parts(tmp_path / "t", loaders(rows), schema=SCHEMA, metadata={"stage": "t", "frame_period": 0.01})
    table = pd.read_parquet(tmp_path / "t").set_index("segment_id")
    assert len(table) == 50
    assert table.loc["s7", "x"].tolist() == list(range(7))
    assert read_metadata(tmp_path / "t") == {"contract": 1, "stage": "t", "frame_period": 0.01}
    assert {r["segment_id"]: len(r["x"]) for r in iter_rows(tmp_path / "t")} == {f"s{i}": i for i in range(50)}


def test_a_new_row_changes_one_part_only(tmp_path):
    rows = [{"segment_id": f"s{i}", "x": np.zeros(3, np.float32), "n": i} for i in range(40)]
    write_parts(tmp_path / "a", loaders(rows), schema=SCHEMA, metadata={})
    write_parts(tmp_path / "b", loaders([*rows, {"segment_id": "new", "n": 1}]), schema=SCHEMA, metadata={})
    changed = [p.name for p in parts(tmp_path / "a") if p.read_bytes() != (tmp_path / "b" / p.name).read_bytes()]
    assert len(changed) == 1


def test_a_failing_write_leaves_the_old_table(tmp_path):
    write_parts(tmp_path / "t", loaders([{"segment_id": "a", "n": 1}]), schema=SCHEMA, metadata={})
    before = {p.name: p.read_bytes() for p in parts(tmp_path / "t")}
    with pytest.raises(KeyError, match="wrong"):
        write_parts(tmp_path / "t", loaders([{"segment_id": "b", "wrong": 1}]), schema=SCHEMA, metadata={})
    assert {p.name: p.read_bytes() for p in parts(tmp_path / "t")} == before


@given(st.sets(st.text(min_size=1), max_size=60))
def test_parts_take_every_row_once(names):
    counts = [part_of(name, 4) for name in names]
    assert all(0 <= part < 4 for part in counts)
    assert counts == [part_of(name, 4) for name in names]


def test_missing_folder_names_the_remedy(tmp_path):
    with pytest.raises(InputError, match="dvc repro"):
        parts(tmp_path)
