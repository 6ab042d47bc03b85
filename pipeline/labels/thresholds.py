"""Thresholds between low and high: fitted on training rows alone, stored, applied unchanged elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.labels.config import Threshold

GLOBAL = "*"


def group_of(rows: pd.DataFrame, scope: str) -> pd.Series:
    """Return the name of the group whose threshold a row would use."""
    if scope == "speaker":
        return rows["corpus"] + "/" + rows["speaker"]
    return rows["corpus"] if scope == "corpus" else pd.Series(GLOBAL, index=rows.index)


# Where a group is too small for a threshold of its own, the next wider one is used.
WIDER = {"speaker": ("speaker", "corpus", "global"), "corpus": ("corpus", "global"), "global": ("global",)}


def fit(rows: pd.DataFrame, statistic: str, config: Threshold) -> dict[str, list[float]]:
    """Return group name -> [low, high] thresholds from the rows whose split is ``train``.

    Groups: every speaker (scope "speaker"), every corpus, and ``*`` for all; groups with fewer than
    ``min_segments`` values are left out, and their rows use the next wider group.
    """
    train = rows[(rows["split"] == "train") & rows[statistic].notna()]
    fitted: dict[str, list[float]] = {}
    for scope in WIDER[config.scope]:
        for name, values in train.groupby(group_of(train, scope))[statistic]:
            if len(values) >= config.min_segments or scope == "global":
                fitted[str(name)] = [float(np.quantile(values, q)) for q in config.quantiles]
    return dict(sorted(fitted.items()))


def apply(rows: pd.DataFrame, statistic: str, fitted: Mapping[str, list[float]], scope: str) -> pd.Series:
    """Return "high", "low" or None a row; None where the statistic is missing or in the dead zone.

    >>> rows = pd.DataFrame({"corpus": "c", "speaker": "s", "split": "train", "x": [1.0, 2.0, 3.0, np.nan]})
    >>> apply(rows, "x", fit(rows, "x", Threshold(min_segments=1)), "corpus").tolist()
    ['low', 'low', 'high', None]
    """
    values = rows[statistic].to_numpy(dtype=float)
    used = used_groups(rows, fitted, scope)

    def label(value: float, group: str | None) -> str | None:
        if np.isnan(value) or group is None:
            return None
        low, high = fitted[group]
        # With equal quantiles the value at the median itself is low: "high" means above.
        return "high" if value > high else "low" if value < low or low == high else None

    return pd.Series([label(*row) for row in zip(values, used, strict=True)], index=rows.index, dtype=object)


def used_groups(rows: pd.DataFrame, fitted: Mapping[str, list[float]], scope: str) -> list[str | None]:
    """Return the group whose threshold each row uses: the narrowest that has one; None without any."""
    names = zip(*(group_of(rows, name) for name in WIDER[scope]), strict=True)
    return [next((group for group in groups if group in fitted), None) for groups in names]
