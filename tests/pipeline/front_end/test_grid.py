"""Several acoustic columns side by side."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.front_end.grid import combine, feature_grid
from pipeline.params import ShardsConfig

ABOUT = {
    "feature_names": ["a", "b"],
    "frame_period": 0.016,
    "frame_size": 0.032,
    "logmel": {"bands": 1, "frame_period_samples": 160},
    "speech_model": {"n_features": 1, "frame_period_samples": 320, "frame_size_samples": 400, "centred": True},
}


def test_the_first_column_gives_the_frames_and_others_are_interpolated() -> None:
    column = "lld+logmel+speech_model"
    grid = feature_grid(ABOUT, column, 16000)
    assert grid.names == ["a", "b", "mel_000", "speech_model_0000"]
    assert (grid.period, grid.centre) == (0.016, 0.016)
    # both others say at which time they are
    row = {"lld": np.arange(20.0), "logmel": np.arange(30) * 0.01, "speech_model": np.arange(5) * 0.02}
    found = combine(row, ABOUT, column, 16000)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :2], np.arange(20.0).reshape(10, 2))
    times = np.arange(10) * 0.016 + 0.016
    np.testing.assert_allclose(found[:, 2], times, rtol=2**-9)
    np.testing.assert_allclose(found[:, 3], np.minimum(times, 0.08), rtol=2**-9)  # it ends before


def test_one_frame_is_enough() -> None:
    row = {"lld": np.arange(2.0), "speech_model": np.array([7.0])}
    assert combine(row, ABOUT, "lld+speech_model", 16000).tolist() == [[0, 1, 7]]
    assert combine(row, ABOUT, "lld", 16000).tolist() == [[0, 1]]


@pytest.mark.parametrize("wrong", ["mfcc", "lld+", "lld+lld", "lld, logmel", ""])
def test_other_names_are_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"must be one of lld, logmel, speech_model"):
        ShardsConfig(features=wrong)
