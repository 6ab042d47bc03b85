"""What is measured: UAR and its kin from a confusion matrix, multi-label F1, KL divergence, calibration, CCC.

Every measure here is a function of sums over utterances. A bootstrap over speakers or a random test subset then only
adds up the sums of other rows, and no measure is written twice. All functions take any leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from trainer.data.arrays import IntArray

Array = npt.NDArray[np.floating[Any]]
Measures = dict[str, Array]
A = TypeVar("A", Array, Tensor)

MEASURES = ("macro_precision", "uar", "macro_f1", "accuracy")
CALIBRATION_BINS = 10  # equally wide, of the confidence; ten as in Guo et al. (2017), who also use 15
_TINY = 1e-12


def classification(truth: IntArray, predicted: IntArray) -> dict[str, float]:
    """Macro precision, UAR (macro recall), macro F1, accuracy, and the UAR of chance; see `from_confusion`.

    Raises ValueError on empty input.

    >>> classification(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))["uar"]
    0.75
    """
    if not len(truth):
        raise ValueError("nothing to measure: no rows with a label")
    counts = confusion(truth, predicted, int(max(truth.max(), predicted.max())) + 1)
    return {name: float(value) for name, value in from_confusion(counts).items()}


def confusion(truth: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """Count, rows = truth, columns = prediction, (K, K)."""
    from sklearn.metrics import confusion_matrix  # .8 s, which prediction does not need

    return confusion_matrix(truth, predicted, labels=np.arange(n_classes))


def class_measures(hits: Array, n_true: Array, n_predicted: Array) -> Measures:
    """Precision, recall and F1 of each class from its counts, and ``n``, how often it is the truth.

    0 where a class is never predicted (precision) or never the truth (recall).
    """
    both = n_true + n_predicted
    return {
        "precision": np.nan_to_num(_ratio(hits, n_predicted)),
        "recall": np.nan_to_num(_ratio(hits, n_true)),
        "f1": np.nan_to_num(_ratio(2 * hits, both)),
        "n": n_true,
    }


def per_class(counts: npt.ArrayLike) -> Measures:
    """`class_measures` of (..., K, K) counts, rows = truth: (..., K) each."""
    counts = np.asarray(counts, dtype=float)
    return class_measures(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2))


def from_confusion(counts: npt.ArrayLike) -> Measures:
    """Macro precision, UAR, macro F1, accuracy and chance of (..., K, K) counts, rows = truth.

    Macro means run over the classes that occur in the truth: a class that a held-out speaker never utters can
    neither be recalled nor missed. Chance is 1 / (number of those classes). ``accuracy`` is the share of utterances
    that are right; papers on emotion call it weighted accuracy, since it is the recall of the classes weighted by
    their frequency. NaN where there is no utterance.
    """
    counts = np.asarray(counts, dtype=float)
    each = per_class(counts)
    there = each["n"] > 0
    total = counts.sum((-2, -1))
    right = np.trace(counts, axis1=-2, axis2=-1)
    return {
        "macro_precision": _mean(each["precision"], there),
        "uar": _mean(each["recall"], there),
        "macro_f1": _mean(each["f1"], there),
        "accuracy": _ratio(right, total),
        "chance": _ratio(np.ones_like(total), there.sum(-1)),
    }


def from_hits(hits: npt.ArrayLike, n_true: npt.ArrayLike, n_predicted: npt.ArrayLike, n: npt.ArrayLike) -> Measures:
    """Macro measures where an utterance may have several classes: (..., K) counts and (...) utterances to (...).

    ``hits``: class true and predicted. Macro means run over the classes that occur in the truth. ``chance`` is the
    macro F1 of predicting every class always: mean of 2 s / (1 + s), s the share of utterances that have the class.
    """
    n_true = np.asarray(n_true, dtype=float)
    each = class_measures(np.asarray(hits, dtype=float), n_true, np.asarray(n_predicted, dtype=float))
    there = n_true > 0
    share = _ratio(n_true, np.asarray(n, dtype=float)[..., None])
    return {
        "macro_precision": _mean(each["precision"], there),
        "macro_recall": _mean(each["recall"], there),
        "macro_f1": _mean(each["f1"], there),
        "chance": _mean(2 * share / (1 + share), there),
    }


def ccc(covariance: A, variances: A, distance: A, *, epsilon: float = 0.0) -> A:
    """Concordance correlation coefficient, 2 cov(x, y) / (var x + var y + (mean x - mean y)^2) (Lin 1989).

    All moments are divided by n; ``variances``: var x + var y; ``distance``: mean x - mean y; ``epsilon`` is added to
    the denominator, which is 0 where both sides are constant and equal.
    """
    return 2 * covariance / (variances + distance**2 + epsilon)


def concordance(moments: npt.ArrayLike) -> Array:
    """CCC from sums (..., 6) of 1, x, y, x^2, y^2, x y to (...).

    0 where the denominator is 0 (both constant and equal); NaN where there is no value.
    """
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(moments, dtype=float), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x, mean_y = x / n, y / n
        variances = xx / n - mean_x**2 + yy / n - mean_y**2
        value = ccc(xy / n - mean_x * mean_y, variances, mean_x - mean_y)
        varies = variances + (mean_x - mean_y) ** 2 > _TINY
    return np.where(varies, value, np.where(n > 0, 0.0, np.nan))


def calibration_error(count: npt.ArrayLike, confidence: npt.ArrayLike, right: npt.ArrayLike) -> Array:
    """Compute the expected calibration error from sums per confidence bin, (..., bins) to (...).

    sum over bins of n_b / N |mean confidence - share right| (Guo et al. 2017).
    """
    gap = np.abs(np.asarray(confidence, dtype=float) - np.asarray(right, dtype=float)).sum(-1)
    return _ratio(gap, np.asarray(count, dtype=float).sum(-1))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation (0 for a single value).

    >>> spread([0.5, 0.7])["mean"]
    0.6
    """
    array = np.asarray(values, dtype=float)
    return {"mean": float(array.mean()), "std": float(array.std(ddof=1)) if len(array) > 1 else 0.0}


def _ratio(top: Array, bottom: Array) -> Array:
    """Divide, NaN where the denominator is 0."""
    return np.divide(top, bottom, out=np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan), where=bottom > 0)


def _mean(values: Array, there: npt.NDArray[np.bool_]) -> Array:
    """Mean over the last axis, of the entries that are ``there``."""
    return _ratio(np.where(there, values, 0.0).sum(-1), there.sum(-1).astype(float))
