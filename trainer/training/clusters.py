"""K-means that gives the same clusters on every machine."""

from __future__ import annotations

import warnings

from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from trainer.data.arrays import FloatArray


def fit_kmeans(vectors: FloatArray, *, k: int, seed: int, iterations: int = 300) -> KMeans:
    """Fit scikit-learn's K-means to (N, H) vectors: one start, at most ``iterations``.

    On one thread, as the order of sums over threads is not fixed. Vectors that have collapsed onto fewer than ``k``
    points give fewer clusters.
    """
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(k, n_init=1, max_iter=iterations, random_state=seed % 2**32).fit(vectors)
