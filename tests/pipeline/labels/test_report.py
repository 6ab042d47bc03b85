"""The summary of the labels: complete, and readable by people."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from pipeline.labels.report import label_summary, print_summary


def labels(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"corpus": ["a"] * (n - 10) + ["b"] * 10})
    for column in ("t1_stat", "t2_stat", "t2_rest"):
        table[column] = rng.normal(size=n)
    table["t2_mouth"] = 3 * table["t2_stat"]
    for task, names in (("t1", ["high", "low"]), ("t2", ["high", "low"]), ("t3", ["anger", "neutral"])):
        table[f"{task}_label"] = rng.choice(names, n).astype(object)
        table[f"{task}_reason"] = None
    table["t3_confidence"] = np.linspace(0, 1, n)
    without = table.index[-4:]
    table.loc[without, "t3_label"] = None
    table.loc[without, "t3_reason"] = [f"margin 0.0{i} below x" for i in range(4)]
    table.loc[0, ["t2_label", "t2_reason", "t2_stat", "t2_mouth", "t2_rest"]] = [
        None,
        "no face",
        np.nan,
        np.nan,
        np.nan,
    ]
    return table


def test_every_segment_is_counted_once_a_task_in_every_corpus() -> None:
    table = labels()
    report = label_summary(table)
    json.dumps(report, allow_nan=False)
    for part, size in ((report, 40), (report["by_corpus"]["a"], 30), (report["by_corpus"]["b"], 10)):
        assert part["segments"] == size
        for task in ("t1", "t2", "t3"):
            assert sum(part[task]["counts"].values()) + sum(part[task]["missing"].values()) == size
    assert report["t3"]["missing"] == {"margin N below x": 4}
    assert report["t2"]["missing"] == {"no face": 1}


def test_correlations_and_confidence_are_of_the_rows_that_have_them() -> None:
    table = labels()
    report = label_summary(table)
    assert report["spearman"]["t2_stat~t2_mouth"] == 1.0
    assert abs(report["spearman"]["t1_stat~t2_stat"]) < 0.5
    assert report["by_corpus"]["b"]["spearman"]["t1_stat~t2_stat"] is not None
    few = label_summary(table.iloc[:5])
    assert few["spearman"]["t1_stat~t2_stat"] is None  # five segments tell nothing
    labelled = table["t3_label"].notna()
    assert report["t3_confidence"]["0.5"] == round(table.loc[labelled, "t3_confidence"].median(), 4)
    assert set(report["t3_confidence_by_label"]) == {"anger", "neutral"}


def test_the_tables_show_every_count(capsys) -> None:
    report = label_summary(labels())
    truth = {"t1": {"n": 9, "uar": 0.75, "uar_chance": 0.5, "kappa": 0.5}}
    print_summary({"pseudo_labels": report, "planted_truth": truth, "planted_action_units": {"AU12": 0.9}})
    shown = capsys.readouterr().out
    for word in (
        "a (30)",
        "b (10)",
        "all (40)",
        "anger",
        "no label: margin N below x",
        "t1_stat ~ t2_stat",
        "0.75",
        "AU12 0.90",
    ):
        assert word in shown, word
    assert f"{report['t3']['counts']['anger']} (" in shown
