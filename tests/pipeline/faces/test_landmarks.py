"""Landmarks come back from their steps as near as stated, whatever happens between the frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import contracts
from pipeline.engine.packing import row_table, write_parts
from pipeline.errors import InputError, Quarantined
from pipeline.faces.landmarks import GRID, from_steps, to_steps


def film(n, *, seed=0, noise=0.002, missing=()):
    """A face of random points that sways and trembles; (n, 478, 3)."""
    rng = np.random.default_rng(seed)
    sway = 0.02 * np.sin(np.arange(n) / 5)[:, None, None] * rng.normal(size=(1, 478, 3))
    points = rng.uniform(-1.5, 1.5, (1, 478, 3)) + sway + rng.normal(scale=noise, size=(n, 478, 3))
    points[list(missing)] = np.nan
    return points.astype(np.float32)


@given(n=st.integers(1, 40), seed=st.integers(0, 99), gaps=st.sets(st.integers(0, 39)), jump=st.floats(-0.4, 0.4))
def test_the_error_is_half_a_step_of_the_grid_and_does_not_grow(n, seed, gaps, jump):
    points = film(n, seed=seed, missing=[gap for gap in gaps if gap < n])
    points[n // 2 :] += np.float32(jump)  # another shot
    found = from_steps({"landmark_steps": to_steps(points)})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(points))
    assert np.nanmax(np.abs(found.astype(np.float64) - points), initial=0) <= GRID / 2


def test_a_long_film_ends_where_it_ends():
    points = film(20_000, noise=0.05)
    assert np.abs(from_steps({"landmark_steps": to_steps(points)}) - points).max() <= GRID / 2


@pytest.mark.parametrize("far", [3.0, 40.0, 900.0])
def test_a_leap_is_made_good_in_the_next_frame(far):
    points = film(12)
    points[5] += far
    error = np.abs(from_steps({"landmark_steps": to_steps(points)}) - points).max(axis=(1, 2))
    assert error[[5, 6]].max() <= (far + 3) * 2.0**-11 + GRID / 2
    assert error[7:].max() <= GRID / 2


def test_points_that_no_face_has_are_refused():
    points = film(3)
    points[1, 7] = 5000
    with pytest.raises(Quarantined, match="inter-ocular distances away"):
        to_steps(points)


def test_a_table_of_another_version_is_named():
    with pytest.raises(InputError, match="make it again"):
        from_steps({"landmarks": np.zeros(1434)})


def test_pandas_reads_them_without_our_code_and_they_take_half_the_bytes(tmp_path):
    points = film(250, missing=[3])
    row = {"segment_id": "a", "status": "ok", "n_frames": 250, "landmark_steps": to_steps(points)}
    rows = [("a", lambda: row_table(row, contracts.FACES), 1)]
    write_parts(tmp_path / "new", rows, schema=contracts.FACES, metadata={})
    # As it was: places as float32 on a grid of 2**-13.
    plain = pa.schema([("segment_id", pa.string()), ("landmarks", pa.list_(pa.float32()))])
    before = {"segment_id": "a", "landmarks": np.round(points.ravel() * 2**13) / 2**13}
    write_parts(tmp_path / "old", [("a", lambda: row_table(before, plain), 1)], schema=plain, metadata={})

    def size(name):
        return sum(path.stat().st_size for path in (tmp_path / name).iterdir())

    assert size("new") < 0.5 * size("old")
    steps = pd.read_parquet(tmp_path / "new")["landmark_steps"].iloc[0].reshape(250, 478, 3)
    np.testing.assert_allclose(np.nancumsum(steps, axis=0, dtype="f4")[10:], points[10:], atol=GRID / 2)
