"""Thresholds of the two binary tasks, fitted anew on the speakers that a pretraining may hear.

The pipeline fits them on all training films. Where a fold leaves speakers out, theirs must not move the threshold by
which the others are labelled, so that it is fitted here on the films that are left, by the pipeline's own rule. T3 has
no threshold that is fitted; the spreads of the action units that its scores are divided by stay the pipeline's
(docs/labels.md).
"""

from __future__ import annotations

import numpy as np

from trainer.data.arrays import IntArray
from trainer.data.rows import Texts, text
from trainer.data.shards import Shards
from trainer.errors import InputError

STATISTICS = {1: "t1_stat", 2: "t2_stat"}  # columns of the shards
SCOPES = ("global", "corpus", "speaker")  # a row's threshold is that of the narrowest group that is large enough


def refitted(shards: Shards, number: int, labels: Texts, allowed: IntArray) -> Texts:
    """Return the labels of a task by thresholds of some rows.

    Args:
        shards: of the films.
        number: of the task.
        labels: (N,) of the pipeline, "" where there is none.
        allowed: (M,) rows that may be used; those that train make the thresholds.

    Raises:
        InputError: the shards carry no statistic, since an older pipeline made them.
    """
    if number not in STATISTICS:
        return labels
    column = STATISTICS[number]
    rule = shards.metadata.get("thresholds", {}).get(column)
    if rule is None or column not in shards.rows:
        raise InputError(
            f"{shards.folder} carries no {column}, which pretraining a fold needs for task {number}: run "
            "`dvc repro shards_unlabelled` again"
        )
    values = shards.rows[column].to_numpy(dtype=float)
    training = ~np.isin(text(shards.rows, "split")[allowed], ["dev", "test"])
    seen = allowed[training & np.isfinite(values[allowed])]
    groups = {"global": np.full(len(values), ""), "corpus": shards.corpora, "speaker": shards.speakers}
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for scope in SCOPES[: SCOPES.index(rule["scope"]) + 1]:
        group = groups[scope]
        for name in sorted(set(group[seen])):
            own = values[seen[group[seen] == name]]
            if scope == "global" or len(own) >= rule["min_segments"]:
                low[group == name], high[group == name] = np.quantile(own, rule["quantiles"])
    result = np.full(len(values), "", dtype=object)
    result[values > high] = "high"
    result[(values < low) | ((values <= low) & (low == high))] = "low"  # at the median itself: low, as in the pipeline
    return result
