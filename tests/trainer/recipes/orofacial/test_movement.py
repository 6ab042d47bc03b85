"""Measures of predicted movement."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.recipes.orofacial.movement import per_coordinate, summary


def test_measures_by_hand() -> None:
    truth = np.array([[[0.0], [2.0], [4.0], [np.nan], [4.0]]], np.float32)
    guess = np.array([[[0.0], [1.0], [2.0], [7.0], [1.0]]], np.float32)
    found = {name: value[0] for name, value in per_coordinate(guess, truth, frame_period=0.5).items()}
    x, y = np.array([0.0, 1.0, 2.0, 1.0]), np.array([0.0, 2.0, 4.0, 4.0])
    both = np.cov(x, y, ddof=0)
    assert found["r"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found["ccc"] == pytest.approx(2 * both[0, 1] / (both[0, 0] + both[1, 1] + (x.mean() - y.mean()) ** 2))
    assert found["velocity_error"] == pytest.approx(2.0)  # 2 against 4 a second, twice; not across the gap
    assert found["still"] == pytest.approx(4.0)
    assert found["rmse"] == pytest.approx(np.sqrt((1 + 4 + 9) / 4))


def test_perfect_still_and_unseen_coordinates() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 20, 3)).astype(np.float32)
    truth[..., 2] = np.nan
    guess = truth.copy()
    guess[..., 1] = 0.3
    found = per_coordinate(guess, truth, frame_period=0.02)
    np.testing.assert_allclose(
        [found[name][0] for name in ("ccc", "r", "velocity_error", "rmse")], [1, 1, 0, 0], atol=1e-6
    )
    assert found["r"][1] == 0
    assert found["velocity_error"][1] == pytest.approx(found["still"][1])
    assert all(np.isnan(values[2]) for values in found.values())
    told = summary(found, ("lips_inner_013_y", "jaw_152_y", "chin_199_y"))
    assert told["ccc_opening"] == pytest.approx(1.0)
    assert told["r"] == pytest.approx(0.5)
