"""Tables of results from made-up runs whose numbers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.trainer.report.examples import two_folds
from trainer.evaluation.tables import (
    class_table,
    comparison_columns,
    over_pretrainings,
    paired_table,
    parents_of,
    pool,
    result_table,
)
from trainer.params import ReportParams
from trainer.report.formatting import paired_line

REPORT = ReportParams(summary="", resamples=200)


def test_table_and_test_by_hand() -> None:
    runs, predictions = two_folds()
    pooled = pool(runs, predictions, params=REPORT)
    table = result_table(runs, pooled, params=REPORT).set_index("mode")
    assert list(table.index) == ["scratch", "pretrained"]
    assert table.loc["scratch", "uar_mean"] == pytest.approx(0.5)
    assert table.loc["scratch", "uar_std"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert table.loc["pretrained", "macro_f1_mean"] == pytest.approx(0.6)
    assert table.loc["scratch", "pooled_uar"] == pytest.approx(0.75)  # anger 2 of 2, sadness 1 of 2
    (row,) = paired_table(runs, pooled, params=REPORT).query("measure == 'macro_f1'").to_dict("records")
    assert (row["n"], row["mean_difference"]) == (2, pytest.approx(0.1))
    assert "pretrained - scratch, macro F1: +.100 ± .000 (+20.0 %) over 2 pairs" in paired_line(row)
    assert "too few pairs (2)" in paired_line(row)


def test_pooled_intervals_by_hand() -> None:
    """Two speakers: one all right, one half right, so that a resample is 1, 3/4 or 1/2."""
    runs, predictions = two_folds()
    (row, _) = result_table(runs, pool(runs, predictions, params=REPORT), params=REPORT).to_dict("records")
    assert (row["pooled_uar_low"], row["pooled_uar"], row["pooled_uar_high"]) == (0.5, 0.75, 1.0)
    pooled = pool(runs, predictions, params=REPORT)
    (test,) = paired_table(runs, pooled, params=REPORT).query("measure == 'uar'").to_dict("records")
    assert (test["difference_low"], test["difference_high"]) == (0.0, 0.0)  # both modes say the same
    one = predictions.assign(speaker="ann")
    (row, _) = result_table(runs, pool(runs, one, params=REPORT), params=REPORT).to_dict("records")
    assert row["pooled_uar_low"] is None  # nobody to resample


def test_class_table_by_hand() -> None:
    runs, predictions = two_folds()
    table = class_table(pool(runs, predictions, params=REPORT)).query("mode == 'scratch'").set_index("class")
    assert table.loc["sadness", ["n", "recall", "precision"]].tolist() == [2, 0.5, 1.0]
    assert table.loc["anger", "recall"] == 1.0
    assert table.loc["anger", "precision"] == pytest.approx(2 / 3)


def test_a_mode_of_others_has_its_row_and_its_comparison() -> None:
    """Baselines may stand in the same tables: they need target, predicted and speaker of each utterance."""
    runs, predictions = two_folds()
    svm = runs[runs["mode"] == "scratch"].assign(mode="svm_compare", uar=0.9, pretrain_tasks=None)
    runs = pd.concat([runs, svm], ignore_index=True)
    predictions = pd.concat(
        [predictions, predictions[predictions["mode"] == "scratch"].assign(mode="svm_compare")], ignore_index=True
    )
    pooled = pool(runs, predictions, params=REPORT)
    assert result_table(runs, pooled, params=REPORT)["mode"].tolist() == ["scratch", "pretrained", "svm_compare"]
    assert set(paired_table(runs, pooled, params=REPORT)["mode"]) == {"pretrained", "svm_compare"}


def test_pretrained_models_as_units_by_hand() -> None:
    """Two models, the first .1 and .3 better in its two folds, the second level: means .2 and 0."""
    pairs = pd.MultiIndex.from_product([["1", "2"], [0, 1]], names=["fold", "seed"])
    scratch = pd.Series(0.5, index=pairs)
    better = scratch + pd.Series([0.1, 0.0, 0.3, 0.0], index=pairs)
    parents = pd.Series(["a", "b", "a", "b"], index=pairs)
    found = over_pretrainings(better, scratch, parents)
    assert found["pretrainings"] == 2
    assert found["pretrainings_std"] == pytest.approx(0.2 / 2**0.5)
    assert found["p_pretrainings"] == pytest.approx(0.5)  # t = 1 with one degree of freedom
    columns = comparison_columns({"n": 4, "mean_difference": 0.1, "std_difference": 0.1, **found}, confidence=0.5)
    assert (columns["pretrainings_low"], columns["pretrainings_high"]) == pytest.approx((0.0, 0.2))
    # of three pairs the first model has two: the interval lies around the mean of the models, not of the pairs
    fewer = over_pretrainings(better.iloc[:3], scratch.iloc[:3], parents)
    columns = comparison_columns({"n": 3, "mean_difference": 0.4 / 3, "std_difference": 0.1, **fewer}, confidence=0.5)
    assert (columns["pretrainings_low"], columns["pretrainings_high"]) == pytest.approx((0.0, 0.2))
    assert over_pretrainings(better, scratch, parents_of(pd.DataFrame({"mode": ["m"]}), "m")) == {}
