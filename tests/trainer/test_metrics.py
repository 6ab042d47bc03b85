from __future__ import annotations

import numpy as np
import pytest

from trainer.metrics import classification, confusion, paired_test, spread


def test_measures_by_hand() -> None:
    truth, told = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    result = classification(truth, told)
    assert result["uar"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result["macro_precision"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert result["macro_f1"] == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["chance"] == pytest.approx(1 / 3)
    assert confusion(truth, told, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_a_class_that_is_never_uttered_is_neither_missed_nor_counted_in_chance() -> None:
    result = classification(np.array([0, 0, 2, 2]), np.array([0, 0, 2, 2]))
    assert (result["uar"], result["chance"]) == (1.0, 0.5)


def test_constant_prediction_is_chance() -> None:
    result = classification(np.arange(4), np.zeros(4, dtype=np.int64))
    assert result["uar"] == result["chance"] == 0.25


def test_spread_uses_the_sample_deviation() -> None:
    assert spread([0.4, 0.6]) == {"mean": 0.5, "std": pytest.approx(0.1414, abs=1e-4)}
    assert spread([0.4])["std"] == 0.0


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
