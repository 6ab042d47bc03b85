from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.engine import places
from pipeline.engine.packing import ROW_GROUP_BYTES, LoadedRows, row_table, write_parts
from pipeline.engine.places import Rows, Segments, check_made_from, fingerprint, writing
from pipeline.engine.tables import parts
from pipeline.errors import InputError


def test_a_table_that_was_written_anew_is_read_anew(tmp_path, monkeypatch):
    # Regression: row groups were remembered by name alone, so a rewritten table came back as it was; and so did one
    # of the same relative name in another working folder.
    schema, found = pa.schema([("segment_id", pa.string()), ("status", pa.string()), ("x", pa.int64())]), []
    for number, folder in enumerate(("one", "one", "two")):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        row = {"segment_id": "a#000", "status": "ok", "x": number}
        write_parts(Path("data/t"), [("a#000", partial(row_table, row, schema), 8)], schema=schema, metadata={})
        found += [row["x"][0].as_py() for row in Rows(Path("data/t"), ok_only=True).values()]
    assert found == [0, 1, 2]


SCHEMA = pa.schema([("segment_id", pa.string()), ("status", pa.string()), ("x", pa.int64())])


def write(folder, numbers, *, metadata=None):
    rows = [{"segment_id": f"s{number:04d}", "status": "ok", "x": number} for number in numbers]
    loaders = [(row["segment_id"], partial(row_table, row, SCHEMA), ROW_GROUP_BYTES) for row in rows]
    write_parts(folder, loaders, schema=SCHEMA, metadata=metadata or {})


def test_a_table_replaced_under_its_reader_is_never_read_as_the_old_one(tmp_path):
    write(tmp_path / "t", range(3))
    rows = Rows(tmp_path / "t", ok_only=True)
    write(tmp_path / "t", range(1, 4))
    with pytest.raises(InputError, match="was replaced while it was read"):
        list(rows.values())


def test_a_large_table_is_read_once_however_many_parts_are_made_of_it(tmp_path):
    # Regression: each part of the shards read the whole part of the acoustics that it came from.
    write(tmp_path / "t", range(200))
    table = Rows(tmp_path / "t", ok_only=True)
    rows = LoadedRows(list(table), table.__getitem__, 8 * ROW_GROUP_BYTES)
    made_of = len(parts(tmp_path / "t"))
    for together in (made_of, None):
        places._row_group.cache_clear()
        write_parts(tmp_path / f"out-{together}", rows, schema=SCHEMA, metadata={}, together=together)
        if together:
            assert places._row_group.cache_info().misses == 200
    one, other = (parts(tmp_path / f"out-{together}") for together in (made_of, None))
    assert len(one) == 8 * made_of
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_two_runs_make_a_table_one_after_the_other(tmp_path, capsys):
    order = []

    def run(name):
        with writing(tmp_path / "t", tmp_path / "cache"):
            order.append(f"{name} in")
            time.sleep(0.3)
            order.append(f"{name} out")

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])
    assert "another run is making" in capsys.readouterr().out


def test_a_table_of_other_segments_is_refused(tmp_path):
    segments = [{"segment_id": "a#000", "content_hash": "c", "start": 0.0, "end": 1.0}]
    write(tmp_path / "t", range(3), metadata={"segments": fingerprint(Segments.of(segments))})
    check_made_from(tmp_path / "t", Segments.of(segments))
    with pytest.raises(InputError, match="other segments"):
        check_made_from(tmp_path / "t", Segments.of([segments[0] | {"content_hash": "d"}]))
