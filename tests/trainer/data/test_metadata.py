"""Shards that are damaged, or made to do harm: a message that names the part, and no memory taken."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.conftest import FRAME_PERIOD, N_FEATURES, TRACKS, dense_rows, flip, labelled_rows, rated_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError

Make = Callable[..., Path]
NAMES = [f"f{number}" for number in range(N_FEATURES)]


@pytest.mark.parametrize(
    "metadata",
    [
        {"contract": 2},
        {"contract": True},
        {"contract": [1]},
        {"frame_period": 0},
        {"frame_period": -0.01},
        {"frame_period": 1e-300},
        {"frame_period": 1e300},
        {"frame_period": "0.05"},
        {"frame_period": None},
        {"frame_period": float("nan")},
        {"frame_period": float("inf")},
        {"feature_names": []},
        {"feature_names": "f0f1f2"},
        {"feature_names": None},
        {"feature_names": {"f0": 1}},
        {"feature_names": ["f0"] * N_FEATURES},
        {"feature_names": [*NAMES[1:], 5]},
        {"feature_names": [*NAMES, "one more"]},
        {"dense": 3},
        {"dense": {"names": "energy"}},
        {"dense": {"names": ["a", "a"], "groups": {}}},
        {"dense": {"names": ["energy", "AU12"], "groups": {"aus": ["AU99"]}}},
        {"dense": {"names": ["energy", "AU12"], "groups": ["aus"]}},
        {"dense": {"groups": {}}},
        {"mouth": {"names": ["x"]}},
        {"viseme": {"names": [str(number) for number in range(200)]}},
    ],
    ids=str,
)
def test_hostile_metadata_are_named(make_shards: Make, tmp_path: Path, metadata: dict[str, Any]) -> None:
    folder = make_shards("u", dense_rows(speakers=("a",)), **{"dense": TRACKS, **metadata})
    with pytest.raises(InputError, match=r"part-000\.parquet"):
        open_shards(folder, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "raw", [None, b"", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"contract": 1}', b'"contract"']
)
def test_metadata_that_are_none_are_named(make_shards: Make, tmp_path: Path, raw: bytes | None) -> None:
    part = make_shards("l", labelled_rows(speakers=("a",))) / "part-000.parquet"
    pq.write_table(pq.read_table(part).replace_schema_metadata(None if raw is None else {b"avser": raw}), part)
    with pytest.raises(InputError, match=r"part-000\.parquet"):
        open_shards(part.parent, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("features", lambda n: pa.array(["text"] * n)),
        ("features", lambda n: pa.array([["text"]] * n)),
        ("features", lambda n: pa.array([[[1.0]]] * n)),
        ("features", lambda n: pa.array([[1.0, None] * N_FEATURES] * n)),
        ("n_frames", lambda n: pa.array([3.5] * n)),
        ("n_frames", lambda n: pa.array(["3"] * n)),
        ("n_frames", lambda n: pa.array([-1] * n)),
        ("n_frames", lambda n: pa.array([2**62] * n)),
        ("n_frames", lambda n: pa.array([None] * n, pa.int32())),
        ("segment_id", lambda n: pa.array(list(range(n)))),
        ("segment_id", lambda n: pa.array([None] * n, pa.string())),
        ("segment_id", lambda n: pa.array([["a"]] * n)),
        ("corpus", lambda n: pa.array([None] * n, pa.string())),
        ("speaker", lambda n: pa.array([{"a": 1}] * n)),
        ("votes_anger", lambda n: pa.array(["3"] * n)),
        ("arousal", lambda n: pa.array([np.inf] * n)),
    ],
)
def test_columns_of_another_kind_are_named(
    make_shards: Make, tmp_path: Path, name: str, column: Callable[[int], pa.Array]
) -> None:
    part = make_shards("l", rated_rows(speakers=("a",))) / "part-000.parquet"
    table = pq.read_table(part)
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, name, column(len(table))), part)
    with pytest.raises(InputError, match=r"part-000\.parquet"):
        open_shards(part.parent, cache=tmp_path / "cache")


def test_a_column_that_is_there_twice_is_named(make_shards: Make, tmp_path: Path) -> None:
    part = make_shards("l", labelled_rows(speakers=("a",))) / "part-000.parquet"
    table = pq.read_table(part)
    pq.write_table(table.append_column("corpus", table.column("corpus")), part)
    with pytest.raises(InputError, match="corpus more than once"):
        open_shards(part.parent, cache=tmp_path / "cache")


@pytest.mark.parametrize("kind", ["features", "rows", "text"])
def test_a_small_part_that_unfolds_to_a_large_one_is_refused(make_shards: Make, tmp_path: Path, kind: str) -> None:
    row = labelled_rows(speakers=("a",))[0]
    frames = 50_000_000 // N_FEATURES if kind == "features" else 1
    count = {"features": 1, "rows": 3_000_000, "text": 3_000}[kind]
    features = pa.FixedSizeListArray.from_arrays(pa.nulls(0, pa.float32()), 1)
    values = np.zeros(frames * N_FEATURES, np.float32)
    offsets = np.arange(count + 1, dtype=np.int32) * (len(values) if kind == "features" else 0)
    features = pa.ListArray.from_arrays(offsets, values)
    table = pa.table({name: [value] * count for name, value in row.items() if name in ("corpus", "speaker")})
    if kind == "text":
        long = pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), ["x" * 100_000])
        table = table.set_column(0, "corpus", pa.chunked_array([long.cast(pa.string())]))
    table = table.append_column("segment_id", pa.array(["same"] * count))
    table = table.append_column("n_frames", pa.array([frames] * count, pa.int32()))
    table = table.append_column("features", features)
    content = {"contract": 1, "feature_names": NAMES, "frame_period": FRAME_PERIOD}
    part = tmp_path / "bomb" / "part-000.parquet"
    part.parent.mkdir()
    pq.write_table(table.replace_schema_metadata({b"avser": json.dumps(content).encode()}), part, compression="zstd")
    assert part.stat().st_size < 200_000
    del table, features, values
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    with pytest.raises(InputError, match=r"part-000\.parquet.* unfold"):
        open_shards(part.parent, cache=tmp_path / "cache")
    assert tracemalloc.get_traced_memory()[1] < 200_000_000
    tracemalloc.stop()
    assert pa.total_allocated_bytes() - before < 100_000_000


def test_a_part_that_is_cut_or_flipped_is_named(make_shards: Make, tmp_path: Path) -> None:
    part = make_shards("l", labelled_rows(speakers=("a",))) / "part-000.parquet"
    pq.write_table(pq.read_table(part), part, write_page_checksum=True)
    whole = part.read_bytes()
    for at in range(4, len(whole) // 2, len(whole) // 20):
        part.write_bytes(whole)
        flip(part, at=at)
        with pytest.raises(InputError, match=r"part-000\.parquet"):
            open_shards(part.parent, cache=tmp_path / "cache")
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        open_shards(part.parent, cache=tmp_path / "cache")
