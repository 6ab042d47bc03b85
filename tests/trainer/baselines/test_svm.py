"""The support vector machines themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from trainer.baselines.svm import build, per_speaker
from trainer.params import BaselinesParams


def test_the_svm_is_the_plain_one() -> None:
    """Against scikit-learn by hand, so that a number can be compared with others'."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(5, 3, (60, 9)), rng.integers(0, 3, 60)
    scaler = StandardScaler().fit(X)
    wanted = SVC(C=2, gamma=1 / 9, class_weight="balanced").fit(scaler.transform(X), y)
    ours = build("svm-rbf", BaselinesParams(c=2.0), n_features=9).fit(X, y)
    new = rng.normal(5, 3, (40, 9))
    assert (ours.predict(new) == wanted.predict(scaler.transform(new))).all()
    linear = build("svm-linear", BaselinesParams(c=2.0), n_features=9)[-1]
    assert (linear.kernel, linear.C) == ("linear", pytest.approx(2 / 9))


@given(seed=st.integers(0, 1000), n=st.integers(2, 8))
def test_per_speaker_statistics_are_each_speakers_own(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    speakers = np.repeat(["a", "b"], n)
    values = rng.normal(0, 1, (2 * n, 3)) * 10
    values[:, 2] = 7.0  # says nothing
    values[0] = np.nan
    out = per_speaker(values, speakers)
    assert np.isnan(out[0]).all()
    assert np.allclose(out[1:, 2], 0)
    for rows in (slice(1, n), slice(n, 2 * n)):
        assert np.allclose(out[rows].mean(axis=0), 0, atol=1e-9)
    moved = values + np.where(speakers == "a", 100.0, 0.0)[:, None]
    assert np.allclose(per_speaker(moved, speakers), out, equal_nan=True)
