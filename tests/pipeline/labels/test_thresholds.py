"""Thresholds between low and high."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from pipeline.labels import thresholds
from pipeline.labels.config import LabelsConfig, Threshold


def rows(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "corpus": ["a", "b"] * (n // 2),
            "speaker": [f"s{i % 4}" for i in range(n)],
            "split": ["train"] * (n // 2) + ["dev"] * (n - n // 2),
            "x": rng.normal(size=n),
        }
    )


def test_thresholds_come_from_train_rows_alone():
    table = rows()
    changed = table.copy()
    changed.loc[changed["split"] == "dev", "x"] = 1e6
    for scope in ("corpus", "speaker", "global"):
        config = Threshold(scope=scope, min_segments=2)
        assert thresholds.fit(table, "x", config) == thresholds.fit(changed, "x", config)


def test_a_small_group_uses_the_wider_threshold():
    table = rows()
    fitted = thresholds.fit(table, "x", Threshold(scope="speaker", min_segments=6))
    assert set(fitted) == {"*", "a", "b"}  # ten train rows a corpus, five a speaker
    labels = thresholds.apply(table, "x", fitted, "speaker")
    high = table["x"] > table["corpus"].map({name: fitted[name][1] for name in "ab"})
    assert labels.tolist() == ["high" if h else "low" for h in high]


def test_dead_zone_leaves_the_middle_without_a_label():
    table = rows(400)
    config = Threshold(quantiles=(0.3, 0.7), scope="global")
    labels = thresholds.apply(table, "x", thresholds.fit(table, "x", config), "global")
    share = labels.isna().mean()
    assert 0.3 < share < 0.5
    assert table["x"][labels == "high"].min() > table["x"][labels == "low"].max()


def test_bad_quantiles_and_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="quantiles"):
        Threshold(quantiles=(0.8, 0.2))
    with pytest.raises(ValidationError, match="flor"):
        LabelsConfig.model_validate({"au_emotion": {"flor": 1}})


@settings(max_examples=30, deadline=None)
@given(arrays(float, 30, elements=st.floats(-100, 100)), st.floats(0.05, 0.5), st.floats(0.5, 0.95))
def test_high_lies_above_low_and_never_both(values, low, high):
    table = pd.DataFrame({"corpus": "c", "speaker": "s", "split": "train", "x": values})
    fitted = thresholds.fit(table, "x", Threshold(quantiles=(low, high)))
    labels = thresholds.apply(table, "x", fitted, "corpus")
    highs, lows = values[labels == "high"], values[labels == "low"]
    if len(highs) and len(lows):
        assert highs.min() > lows.max()
    if low == high:
        assert labels.notna().all()
