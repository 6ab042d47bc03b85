"""Paired tests, the bootstrap over speakers, random subsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trainer.evaluation.significance import (
    holm,
    mean_interval,
    paired_test,
    percentile_interval,
    random_subsets,
    resampled_speakers,
    subset_test,
)


def test_paired_test_finds_a_steady_gain_and_no_gain_in_noise() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.5, 0.1, 24)
    gain = paired_test(base + rng.normal(0.05, 0.02, 24), base)
    assert gain["mean_difference"] == pytest.approx(0.05, abs=0.02)
    assert gain["p_t_test"] < 0.001
    assert "better, significant" in gain["verdict"]
    noise = paired_test(base + rng.normal(0, 0.05, 24), base)
    assert noise["verdict"].startswith("no significant difference")


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [([0.1] * 5, "too few pairs"), ([0.0] * 8, "no difference"), ([0.1] * 8, "constantly better")],
)
def test_paired_test_says_when_it_cannot_tell(difference: list[float], verdict: str) -> None:
    result = paired_test(np.array(difference), np.zeros(len(difference)))
    assert result["verdict"].startswith(verdict)
    assert result["p_t_test"] is None  # undefined without variation, never NaN


def test_effect_size_and_relative_gain_by_hand() -> None:
    result = paired_test([0.5, 0.6, 0.7], [0.4, 0.4, 0.7])
    assert result["mean_difference"] == pytest.approx(0.1)
    assert result["cohens_dz"] == pytest.approx(1.0)  # differences .1 .2 0: deviation .1
    assert result["relative_gain"] == pytest.approx(20.0)
    assert paired_test([0.5], [0.0])["relative_gain"] is None  # nothing to be relative to


def test_a_smaller_divergence_is_better() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 0.1, 12)
    less = base - rng.normal(0.1, 0.02, 12)
    assert paired_test(less, base, lower_is_better=True)["verdict"].startswith("better")
    assert paired_test(less, base)["verdict"].startswith("worse")
    assert subset_test(less, base, lower_is_better=True)["p_subsets_one_sided"] < 0.001
    assert subset_test(less, base)["p_subsets_one_sided"] > 0.999


def test_whole_speakers_are_resampled_and_the_same_ones_every_time() -> None:
    draws = resampled_speakers(10, resamples=500, seed=3)
    assert draws.shape == (500, 10)
    assert (draws.sum(axis=1) == 10).all()
    np.testing.assert_array_equal(draws, resampled_speakers(10, resamples=500, seed=3))
    assert not np.array_equal(draws, resampled_speakers(10, resamples=500, seed=4))


def test_the_interval_of_a_mean_is_the_one_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 24)
    means = resampled_speakers(24, resamples=5000, seed=0) @ values / 24
    ours = percentile_interval(means, confidence=0.95)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.005)
    assert percentile_interval(np.array([np.nan]), confidence=0.95) is None


@given(st.integers(1, 200), st.integers(2, 40))
def test_random_subsets_part_the_rows_evenly(n_rows: int, subsets: int) -> None:
    sizes = np.bincount(random_subsets(n_rows, subsets=subsets, seed=0))
    assert sizes.sum() == n_rows
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == min(subsets, n_rows)


def test_subset_test_is_scipys_paired_test() -> None:
    rng = np.random.default_rng(1)
    one, two = rng.normal(0.5, 0.1, (2, 30))
    result = subset_test(one, two)
    assert result["p_subsets"] == pytest.approx(stats.ttest_rel(one, two).pvalue)
    assert result["p_subsets_one_sided"] == pytest.approx(stats.ttest_rel(one, two, alternative="greater").pvalue)
    assert subset_test([0.5, 0.5], [0.5, 0.5])["p_subsets"] is None


def test_holm_multiplies_by_the_hypotheses_that_are_left() -> None:
    """Holm (1979) by hand: .01 x 4, .02 x 3, .03 x 2, then .02 x 3 again since no value may fall."""
    np.testing.assert_allclose(holm([0.02, 0.01, 0.5, 0.03]), [0.06, 0.04, 0.5, 0.06])
    np.testing.assert_allclose(holm([np.nan, 0.9, 0.8]), [np.nan, 1.0, 1.0])
    assert holm([]).shape == (0,)


def test_the_interval_is_the_t_tests() -> None:
    values = np.array([0.1, -0.02, 0.07, 0.05])
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    found = mean_interval(float(values.mean()), float(values.std(ddof=1)), 4, confidence=0.9)
    assert found == pytest.approx((expected.low, expected.high))
    assert mean_interval(0.1, 0.0, 1, confidence=0.9) is None
