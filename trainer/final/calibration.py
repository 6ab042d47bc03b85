"""Temperature scaling: make a class probability mean how often the answer is right.

Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017: logits are divided by one number,
fitted on held-out predictions by their negative log-likelihood. It changes no answer, only how sure the model is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from trainer.data.arrays import FloatArray, IntArray

BINS = 15  # of equal width over the confidence, as in the paper
_RANGE = (np.log(0.05), np.log(20.0))  # of the temperature's logarithm
_SMALLEST = 1e-12  # probability, so that its logarithm exists


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it did to held-out predictions that it was not fitted on.

    Attributes:
        temperature: what logits are divided by; above 1 the network was too sure.
        n: held-out predictions.
        nll_before, nll_after: mean negative log-likelihood of the true class.
        ece_before, ece_after: expected calibration error, 0 to 1: mean distance of confidence and accuracy. After: each
            fold by the temperature of the other folds.
    """

    temperature: float
    n: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float

    def to_json(self) -> dict[str, Any]:
        """As in ``config.json``."""
        rounded = {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return {**rounded, "method": "temperature scaling on the folds' held-out predictions"}


def calibrate(probabilities: npt.ArrayLike, truth: npt.ArrayLike, folds: npt.ArrayLike) -> Calibration:
    """Fit the temperature on all held-out predictions, and measure it across folds.

    Args:
        probabilities: (N, K) as the networks of the folds gave them.
        truth: (N,) index of the true class.
        folds: (N,) name of the fold that a prediction was held out in.

    Raises:
        ValueError: there are no predictions.
    """
    logits = np.log(np.clip(np.asarray(probabilities, dtype=float), _SMALLEST, None))
    truth, folds = np.asarray(truth, dtype=np.int64), np.asarray(folds)
    if not len(logits):
        raise ValueError("nothing to calibrate on: no held-out predictions")
    across = logits.copy()
    for fold in np.unique(folds):
        inside = folds == fold
        if not inside.all():  # one split alone has no other folds: its own temperature is all there is
            across[inside] /= fit_temperature(logits[~inside], truth[~inside])
    temperature = fit_temperature(logits, truth)
    if len(np.unique(folds)) == 1:
        across = logits / temperature
    return Calibration(
        temperature,
        len(logits),
        nll_before=nll(logits, truth),
        nll_after=nll(across, truth),
        ece_before=ece(softmax(logits), truth),
        ece_after=ece(softmax(across), truth),
    )


def fit_temperature(logits: FloatArray, truth: IntArray) -> float:
    """Return the temperature of least negative log-likelihood, between .05 and 20.

    >>> sure = np.log(np.array([[0.99, 0.01]] * 4))
    >>> round(float(softmax(sure / fit_temperature(sure, np.array([0, 0, 0, 1])))[0, 0]), 2)
    0.75
    """
    found = minimize_scalar(lambda log: nll(logits / np.exp(log), truth), bounds=_RANGE, method="bounded")
    return float(np.exp(found.x))


def nll(logits: FloatArray, truth: IntArray) -> float:
    """Mean negative log-likelihood of the true class: (N, K) and (N,)."""
    return float(-np.log(np.clip(softmax(logits)[np.arange(len(truth)), truth], _SMALLEST, None)).mean())


def ece(probabilities: FloatArray, truth: IntArray) -> float:
    """Expected calibration error over `BINS` bins of confidence: (N, K) and (N,) to 0..1.

    >>> round(ece(np.array([[0.8, 0.2]] * 5), np.array([0, 0, 0, 0, 1])), 6)
    0.0
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in np.unique(bins)]
    return float(sum(gaps) / len(truth))


def softmax(logits: FloatArray) -> FloatArray:
    """(N, K) logits to probabilities."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: FloatArray = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
