"""Is it luck? Paired tests over folds and seeds, a bootstrap over speakers, and the papers' test over subsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from trainer.objectives.metrics import Array, spread

ENOUGH_PAIRS = 6  # below, the two-sided Wilcoxon test cannot reach .05 whatever the data: 2 / 2**5 = .0625


def paired_test(
    better: npt.ArrayLike, baseline: npt.ArrayLike, *, alpha: float = 0.05, lower_is_better: bool = False
) -> dict[str, Any]:
    """Compare two modes on the same folds and seeds: paired t-test and Wilcoxon signed-rank, two-sided.

    Returns n; mean and standard deviation of the differences; ``relative_gain``, their mean in per cent of the
    baseline's mean; ``cohens_dz``, mean / standard deviation of the differences (Cohen 1988, paired samples); both p
    values (None where undefined); and a verdict in words. The pairs share training data, so that both p values are
    rather too small; with fewer than six pairs the verdict says that nothing can be concluded.

    >>> result = paired_test([0.5, 0.7], [0.4, 0.4])
    >>> result["verdict"], round(result["relative_gain"], 6), round(result["cohens_dz"], 4)
    ('too few pairs (2) to conclude anything', 50.0, 1.4142)
    """
    base = np.asarray(baseline, dtype=float)
    difference = np.asarray(better, dtype=float) - base
    n = len(difference)
    if not n:
        raise ValueError("no pairs to compare")
    varies = n > 1 and float(difference.std(ddof=1)) > 1e-12
    p_t = float(stats.ttest_1samp(difference, 0.0).pvalue) if varies else None
    p_w = float(stats.wilcoxon(difference).pvalue) if n > 1 and np.any(np.abs(difference) > 1e-12) else None
    direction = "better" if (difference.mean() > 0) != lower_is_better else "worse"
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
    mean = float(difference.mean())
    return {
        "n": n,
        "mean_difference": mean,
        "std_difference": spread(difference.tolist())["std"],
        "relative_gain": 100 * mean / float(base.mean()) if base.mean() > 0 else None,
        "cohens_dz": mean / float(difference.std(ddof=1)) if varies else None,
        "p_t_test": p_t,
        "p_wilcoxon": p_w,
        "verdict": verdict,
    }


def mean_interval(mean: float, deviation: float, n: int, *, confidence: float) -> tuple[float, float] | None:
    """Student's t interval of a mean of ``n`` values with standard deviation ``deviation``; None below two values.

    It excludes 0 exactly where the two-sided t-test is below 1 - ``confidence``, and is as optimistic as that one.
    """
    if n < 2:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * deviation / n**0.5
    return mean - half, mean + half


def holm(p_values: npt.ArrayLike) -> Array:
    """Holm's (1979) step-down correction for testing many hypotheses at once; NaN stays NaN and is not counted.

    The i-th smallest of m values is multiplied by m - i + 1, never below its predecessor, never above 1.

    >>> holm([0.01, 0.04, 0.03, float("nan")]).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    p = np.asarray(p_values, dtype=float)
    out = np.full(len(p), np.nan)
    there = np.flatnonzero(np.isfinite(p))
    order = there[np.argsort(p[there], kind="stable")]
    out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return out


def resampled_speakers(n_speakers: int, *, resamples: int, seed: int) -> Array:
    """How often each speaker is drawn, (resamples, speakers): whole speakers, with replacement.

    Equal arguments give equal draws, so that two systems can be compared on the same ones.
    """
    rng = np.random.default_rng(seed)
    counts: Array = rng.multinomial(n_speakers, np.full(n_speakers, 1 / n_speakers), size=resamples).astype(float)
    return counts


def percentile_interval(values: Array, *, confidence: float) -> tuple[float, float] | None:
    """Percentile interval of bootstrap values; resamples in which a measure is undefined are left out.

    >>> percentile_interval(np.arange(101.0), confidence=0.5)
    (25.0, 75.0)
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def random_subsets(n_rows: int, *, subsets: int, seed: int) -> npt.NDArray[np.int64]:
    """Part rows at random into subsets of equal size (up to one row): the subset of each row, (n_rows,).

    Fewer subsets where there are fewer rows.
    """
    rng = np.random.default_rng(seed)
    numbers: npt.NDArray[np.int64] = rng.permutation(np.arange(n_rows) % max(1, min(subsets, n_rows)))
    return numbers


def subset_test(better: npt.ArrayLike, baseline: npt.ArrayLike, *, lower_is_better: bool = False) -> dict[str, Any]:
    """Test two systems' scores on the same random test subsets, as papers of the field do: a paired t-test.

    Returns the number of subsets, the mean difference and the p values, two-sided and one-sided (``better`` is better).
    Both are optimistic: the subsets share the trained models and the speakers, so that they only ask whether *these*
    models differ on *these* speakers, never whether training again or on other people would give the same.
    """
    difference = np.asarray(better, dtype=float) - np.asarray(baseline, dtype=float)
    difference = difference[np.isfinite(difference)]
    varies = len(difference) > 1 and float(difference.std(ddof=1)) > 1e-12
    two, one = (
        float(stats.ttest_1samp(difference, 0.0, alternative=side).pvalue) if varies else None
        for side in ("two-sided", "less" if lower_is_better else "greater")
    )
    return {
        "subsets": len(difference),
        "subset_difference": float(difference.mean()) if len(difference) else None,
        "p_subsets": two,
        "p_subsets_one_sided": one,
    }
