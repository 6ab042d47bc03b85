"""What is measured: macro precision, UAR, macro F1, accuracy, confusion; and the paired comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from trainer.chunking import IntArray

MEASURES = ("macro_precision", "uar", "macro_f1", "accuracy")
ENOUGH_PAIRS = 6  # below, the two-sided Wilcoxon test cannot reach .05 whatever the data: 2 / 2**5 = .0625


def classification(truth: IntArray, predicted: IntArray) -> dict[str, float]:
    """Macro precision, UAR (macro recall), macro F1, accuracy, and the UAR of chance.

    Macro means run over the classes that occur in ``truth``: a class that a held-out speaker never utters can
    neither be recalled nor missed. Chance is 1 / (number of those classes). Raises ValueError on empty input.

    >>> classification(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))["uar"]
    0.75
    """
    if not len(truth):
        raise ValueError("nothing to measure: no rows with a label")
    present = np.unique(truth)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=present, average="macro", zero_division=0
    )
    return {
        "macro_precision": float(precision),
        "uar": float(recall),
        "macro_f1": float(f1),
        "accuracy": float(accuracy_score(truth, predicted)),
        "chance": 1.0 / len(present),
    }


def confusion(truth: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """Count, rows = truth, columns = prediction, (K, K)."""
    counts: IntArray = confusion_matrix(truth, predicted, labels=np.arange(n_classes))
    return counts


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and sample standard deviation (0 for a single value).

    >>> spread([0.5, 0.7])["mean"]
    0.6
    """
    array = np.asarray(values, dtype=float)
    return {"mean": float(array.mean()), "std": float(array.std(ddof=1)) if len(array) > 1 else 0.0}


def paired_test(better: npt.ArrayLike, baseline: npt.ArrayLike, *, alpha: float = 0.05) -> dict[str, Any]:
    """Compare two modes on the same folds and seeds: paired t-test and Wilcoxon signed-rank, two-sided.

    Returns n, mean and standard deviation of the differences, both p values (None where undefined) and a verdict in
    words. The pairs share training data, so that both p values are rather too small; with fewer than six pairs the
    verdict says that nothing can be concluded.

    >>> paired_test([0.5, 0.6], [0.4, 0.4])["verdict"]
    'too few pairs (2) to conclude anything'
    """
    difference = np.asarray(better, dtype=float) - np.asarray(baseline, dtype=float)
    n = len(difference)
    varies = n > 1 and float(difference.std(ddof=1)) > 1e-12
    p_t = float(stats.ttest_1samp(difference, 0.0).pvalue) if varies else None
    p_w = float(stats.wilcoxon(difference).pvalue) if n > 1 and np.any(np.abs(difference) > 1e-12) else None
    direction = "better" if difference.mean() > 0 else "worse"
    if n < ENOUGH_PAIRS:
        verdict = f"too few pairs ({n}) to conclude anything"
    elif p_t is None or p_w is None:
        verdict = "no difference" if p_w is None else f"constantly {direction}"
    elif p_t < alpha and p_w < alpha:
        verdict = f"{direction}, significant at {alpha:g} in both tests"
    elif p_t < alpha or p_w < alpha:
        verdict = f"{direction}, but only one of the two tests is below {alpha:g}"
    else:
        verdict = f"no significant difference at {alpha:g}"
    return {
        "n": n,
        "mean_difference": float(difference.mean()) if n else 0.0,
        "std_difference": spread(difference.tolist())["std"] if n else 0.0,
        "p_t_test": p_t,
        "p_wilcoxon": p_w,
        "verdict": verdict,
    }
