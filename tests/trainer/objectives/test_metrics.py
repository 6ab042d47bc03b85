from __future__ import annotations

import numpy as np
import pytest

from trainer.objectives.metrics import classification, confusion, spread


def test_measures_by_hand() -> None:
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    result = classification(truth, predicted)
    assert result["uar"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result["macro_precision"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert result["macro_f1"] == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["chance"] == pytest.approx(1 / 3)
    assert confusion(truth, predicted, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_a_class_that_is_never_uttered_is_neither_missed_nor_counted_in_chance() -> None:
    result = classification(np.array([0, 0, 2, 2]), np.array([0, 0, 2, 2]))
    assert (result["uar"], result["chance"]) == (1.0, 0.5)


def test_constant_prediction_is_chance() -> None:
    result = classification(np.arange(4), np.zeros(4, dtype=np.int64))
    assert result["uar"] == result["chance"] == 0.25


def test_spread_uses_the_sample_deviation() -> None:
    assert spread([0.4, 0.6]) == {"mean": 0.5, "std": pytest.approx(0.1414, abs=1e-4)}
    assert spread([0.4])["std"] == 0.0
