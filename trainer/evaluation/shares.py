"""Several shares of the labels: each for itself, and all of them averaged pair by pair."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

_PAIR = ["corpus", "mode", "fold", "seed"]


def percentages(shares: set[float]) -> str:
    """Name shares of the labels.

    >>> percentages({0.25, 0.1})
    '10 + 25 %'
    """
    return " + ".join(f"{100 * share:g}" for share in sorted(shares)) + " %"


def by_share(runs: pd.DataFrame, predictions: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Give the runs and predictions of the average over all shares, then those of each share.

    The runs of one fold and seed share test speakers and labels, so that their measures are averaged before anything
    is tested. A pair counts where every share of it is there.

    Args:
        runs: a row a training, with ``label_fraction``.
        predictions: of the same trainings, likewise.

    Yields:
        name of the share or shares, runs, predictions; with one share that alone.
    """
    shares = set(runs["label_fraction"])
    if len(shares) > 1:
        yield percentages(shares), *_averaged(runs, predictions, len(shares))
    for share in sorted(shares):
        yield (
            percentages({share}),
            runs[runs["label_fraction"] == share],
            predictions[predictions["label_fraction"] == share],
        )


def _averaged(runs: pd.DataFrame, predictions: pd.DataFrame, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    whole = runs.groupby(_PAIR)["label_fraction"].transform("nunique") == count
    columns = runs.columns.difference([*_PAIR, "label_fraction"])
    how = {name: "mean" if pd.api.types.is_float_dtype(runs[name]) else "first" for name in columns}
    averaged = runs[whole].groupby(_PAIR, as_index=False, sort=False).agg(how)
    # pooled measures are taken once a seed and averaged over seeds: each share of a seed is one of these
    seeds = [
        f"{seed} at {share}" for seed, share in zip(predictions["seed"], predictions["label_fraction"], strict=True)
    ]
    kept = pd.MultiIndex.from_frame(predictions[_PAIR]).isin(pd.MultiIndex.from_frame(averaged[_PAIR]))
    return averaged, predictions.assign(seed=seeds)[kept]
