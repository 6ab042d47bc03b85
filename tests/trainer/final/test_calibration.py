"""Temperature scaling: the value that was planted comes back, and the error is measured on other folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.final.calibration import calibrate, ece, fit_temperature, softmax


def draw(count: int, *, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sure by this factor, and classes drawn from the probabilities that are right."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(count, 4))
    truth = np.array([rng.choice(4, p=row) for row in softmax(logits)])
    return logits * temperature, truth


@pytest.mark.parametrize("planted", [0.5, 1.0, 3.0])
def test_the_planted_temperature_is_found(planted: float) -> None:
    logits, truth = draw(4000, temperature=planted, seed=0)
    assert fit_temperature(logits, truth) == pytest.approx(planted, rel=0.1)


def test_calibration_lowers_the_error_on_folds_that_it_was_not_fitted_on() -> None:
    logits, truth = draw(3000, temperature=3.0, seed=1)
    found = calibrate(softmax(logits), truth, np.arange(3000) % 5)
    assert found.ece_before > 0.1
    assert found.ece_after < 0.04
    assert found.nll_after < found.nll_before
    assert found.n == 3000


def test_a_fold_is_measured_by_the_temperature_of_the_others() -> None:
    logits, truth = draw(2000, temperature=3.0, seed=2)
    fine, right = draw(2000, temperature=1.0, seed=3)
    together = calibrate(softmax(np.vstack([logits, fine])), np.append(truth, right), np.repeat(["a", "b"], 2000))
    crossed = np.vstack([logits / fit_temperature(fine, right), fine / fit_temperature(logits, truth)])
    assert together.ece_after == pytest.approx(ece(softmax(crossed), np.append(truth, right)), abs=1e-6)


@given(seed=st.integers(0, 50), temperature=st.floats(0.2, 5.0))
def test_no_answer_changes(seed: int, temperature: float) -> None:
    logits, _ = draw(50, temperature=temperature, seed=seed)
    scaled = softmax(logits / temperature)
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert scaled.sum(axis=1) == pytest.approx(np.ones(50))


def test_probabilities_of_zero_are_no_infinity() -> None:
    found = calibrate([[1.0, 0.0], [0.0, 1.0]], [1, 1], ["a", "b"])
    assert np.isfinite([found.temperature, found.nll_before, found.nll_after]).all()


def test_nothing_to_calibrate_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="no held-out predictions"):
        calibrate(np.zeros((0, 3)), [], [])
