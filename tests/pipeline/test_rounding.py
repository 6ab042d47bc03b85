"""Rounded numbers are as near as stated, of every size, and take fewer bytes."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from pipeline.rounding import FRAME_BITS, keep_bits

ANY = hn.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))
LARGEST = np.finfo(np.float32).max


@given(values=ANY, bits=st.integers(1, 22))
def test_the_error_is_as_small_as_stated_whatever_the_number(values, bits):
    found = keep_bits(values, bits)
    assert found.dtype == np.float32
    assert found.shape == values.shape
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    with np.errstate(over="ignore"):
        overflows = np.abs(values.astype(np.float64)) >= (2 - 2.0 ** -(bits + 1)) * 2.0**127
    np.testing.assert_array_equal(np.isinf(found), overflows)
    fine = np.isfinite(values) & ~overflows
    exact, error = np.abs(values[fine].astype(np.float64)), np.abs(found[fine].astype(np.float64) - values[fine])
    assert (error <= np.maximum(exact * 2.0 ** -(bits + 1), 2.0 ** -(127 + bits))).all()
    assert (np.signbit(found) == np.signbit(values)).all()


@given(values=ANY, bits=st.integers(1, 22))
def test_rounding_again_changes_nothing_and_the_low_bits_are_zero(values, bits):
    found = keep_bits(values, bits)
    assert keep_bits(found, bits).tobytes() == found.tobytes()
    assert not (found[~np.isnan(found)].view(np.uint32) & np.uint32((1 << (23 - bits)) - 1)).any()


@pytest.mark.parametrize("value", [0.0, -0.0, np.inf, -np.inf, 1.0, -2.0, 65536.0, 2.0**100, 2.0**-130])
def test_what_needs_no_rounding_stays_to_the_bit(value):
    values = np.array([value], np.float32)
    assert keep_bits(values).tobytes() == values.tobytes()


def test_the_order_of_numbers_is_kept():
    values = np.sort(np.random.default_rng(0).normal(size=10_000).astype(np.float32) * 1e6)
    assert (np.diff(keep_bits(values)) >= 0).all()
    assert np.isinf(keep_bits(np.array([LARGEST])))


def test_rounded_frames_take_half_the_bytes():
    rng = np.random.default_rng(0)
    frames = (np.cumsum(rng.normal(size=(2000, 130)), axis=0) * np.exp2(rng.integers(-9, 22, 130))).astype(np.float32)

    def size(values):
        sink = io.BytesIO()
        table = pa.table({"x": pa.array(values.ravel())})
        pq.write_table(table, sink, compression="zstd", use_dictionary=False, use_byte_stream_split=["x"])
        return len(sink.getvalue())

    assert size(keep_bits(frames, FRAME_BITS)) < 0.5 * size(frames)
