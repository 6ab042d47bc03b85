"""A memory map that was damaged is built anew, and two commands at once build one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from tests.trainer.conftest import N_FEATURES, digest, flip, labelled_rows
from trainer.data.memory_map import build, open_frames
from trainer.data.shards import open_shards
from trainer.errors import InputError

Make = Callable[..., Path]
FILES = ("features.f16", "exponents.npy", "offsets.npy", "mean.npy", "m2.npy", "SHA256SUMS")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [flip, lambda path: flip(path, at=-1), lambda path: path.write_bytes(path.read_bytes()[:100]), Path.unlink,
     lambda path: path.write_bytes(b"")],
    ids=["flipped", "flipped at the end", "cut", "gone", "emptied"],
)  # fmt: skip
def test_whatever_is_damaged_is_built_anew(
    make_shards: Make, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    # Regressions: a short file of features was a ValueError, an empty offsets.npy "Aborted.", a flipped bit was data.
    folder = make_shards("labelled", labelled_rows(speakers=("a",)))
    place = open_shards(folder, cache=tmp_path / "cache").place
    before = digest(place)
    damage(place / name)
    again = open_shards(folder, cache=tmp_path / "cache")
    assert digest(again.place) == before
    assert len(again.features) == again.offsets[-1]
    assert np.isfinite(again.mean).all()


def test_two_commands_at_once_build_one_map(make_shards: Make, tmp_path: Path) -> None:
    folder = make_shards("labelled", labelled_rows())
    code = "import sys; from trainer.data.shards import open_shards; open_shards(sys.argv[1], cache=sys.argv[2])"
    arguments = [sys.executable, "-c", code, str(folder), str(tmp_path / "cache")]
    assert [process.wait() for process in [subprocess.Popen(arguments) for _ in range(3)]] == [0, 0, 0]
    place = open_shards(folder, cache=tmp_path / "cache").place
    assert list((tmp_path / "cache" / "frames").iterdir()) == [place]


def test_a_map_that_goes_while_it_is_in_use_is_named(make_shards: Make, tmp_path: Path) -> None:
    shards = open_shards(make_shards("labelled", labelled_rows(speakers=("a",))), cache=tmp_path / "cache")
    (shards.place / "features.f16").unlink()
    with pytest.raises(InputError, match="run again"):
        _ = shards.features


@given(
    values=hn.arrays(np.float32, (6, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    powers=st.lists(st.integers(-60, 60), min_size=4, max_size=4),
)
def test_features_of_every_size_keep_eleven_bits(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, powers: list[int]
) -> None:
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(values, powers)
    values[~np.isfinite(values)] = np.finfo(np.float32).max
    folder = tmp_path_factory.mktemp("map")
    row = {"segment_id": "a", "n_frames": 6, "features": values.ravel().tolist()}
    schema = pa.schema([("segment_id", pa.string()), ("n_frames", pa.int32()), ("features", pa.list_(pa.float32()))])
    pq.write_table(pa.Table.from_pylist([row], schema=schema), folder / "part.parquet")
    build([folder / "part.parquet"], folder / "s-1", n_rows=1, feature_names=tuple("abcd"), frame_names={})
    found = open_frames(folder / "s-1", 6, tuple("abcd"))[:]
    largest = np.abs(values).max(axis=0).astype(np.float64)
    error = np.abs(found.astype(np.float64) - values)
    # Of a number: half of its 11th bit. Of one that is 2**29 times smaller than the feature's largest: less and less.
    assert (error <= np.maximum.reduce([np.abs(values) * 2.0**-11, np.broadcast_to(largest, values.shape) * 2.0**-38,
                                        np.full(values.shape, 2.0**-149)])).all()  # fmt: skip


def test_two_bytes_a_feature_hold_the_pipelines_nine_bits(make_shards: Make, tmp_path: Path) -> None:
    rows = labelled_rows()
    for row in rows:
        mantissa, power = np.frexp(np.asarray(row["features"], np.float32) * np.float32(3e6))
        row["features"] = np.ldexp(np.round(mantissa * 2**9) / 2**9, power).tolist()
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "cache")
    frames = np.concatenate([np.reshape(row["features"], (-1, N_FEATURES)) for row in rows])
    assert (shards.place / "features.f16").stat().st_size == 2 * frames.size
    np.testing.assert_array_equal(shards.features[:], frames.astype(np.float32))
    picks = np.array([[0, 5], [9, 9]])
    np.testing.assert_array_equal(shards.features[picks], frames.astype(np.float32)[picks])
