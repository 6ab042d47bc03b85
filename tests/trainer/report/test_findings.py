"""The sentence over the page claims no more than the tests show."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.trainer.report.examples import tables
from trainer.evaluation.tables import paired_table, pool, result_table
from trainer.params import ReportParams
from trainer.report.findings import Finding, findings, headline

PARAMS = ReportParams(summary="", resamples=100)
CLASSES = ("anger", "happiness", "sadness")


def found(
    changes: dict[str, float], *, corpora: tuple[str, ...] = ("emodb",), folds: int = 4, on: tuple[str, ...] = ("talk",)
) -> tuple[list[Finding], pd.DataFrame]:
    """Findings where each mode differs from scratch by so much in UAR, with a little noise of its own."""
    runs, predictions, _ = tables(dict.fromkeys(corpora, CLASSES), modes=("scratch", *changes), folds=folds)
    order = runs.groupby(["corpus", "mode"]).cumcount()
    runs["uar"] = 0.5 + 0.01 * order + runs["mode"].map({"scratch": 0.0, **changes})
    runs.loc[runs["mode"] != "scratch", "uar"] += 0.004 * (order % 3 - 1)
    pooled = pool(runs, predictions, params=PARAMS)
    table, paired = result_table(runs, pooled, params=PARAMS), paired_table(runs, pooled, params=PARAMS)
    return findings(table, paired, PARAMS, pretrained_on=on), table


@pytest.mark.parametrize(
    ("change", "folds", "end"),
    [
        (0.05, 4, "better than from scratch."),
        (-0.05, 4, "worse than from scratch."),
        (0.0005, 4, "no difference shown."),
        (0.05, 2, "too few pairs to tell."),
    ],
)
def test_one_comparison_is_one_sentence(change: float, folds: int, end: str) -> None:
    each, table = found({"pretrained": change}, folds=folds)
    (sentence,) = [finding.sentence() for finding in each]
    assert sentence.startswith("Pretraining on talk changed UAR on emodb by ")
    assert f" over {2 * folds} pairs" in sentence
    assert (", p " in sentence) == (2 * folds >= 6)  # too few for a test
    assert sentence.endswith(end)
    assert headline(each, table, PARAMS) == sentence


def test_several_comparisons_are_put_together_and_corrected() -> None:
    each, table = found({"pretrained": 0.05, "frozen": 0.0005}, corpora=("emodb", "ravdess"))
    assert headline(each, table, PARAMS) == (
        "Against training from scratch, in UAR: better than from scratch for pretraining on emodb and ravdess; "
        "no difference shown for pretraining with a frozen encoder on emodb and ravdess."
    )
    assert all(finding.row["p_holm"] >= finding.row["p"] for finding in each)
    assert " after correction: " in each[0].sentence()
    cells = each[0].cells()
    assert cells["against scratch"] == "pretrained"
    assert len(cells) == 5


def test_simple_recognisers_are_no_finding() -> None:
    each, table = found({"svm-linear compare": 0.05})
    assert each == []
    assert headline(each, table, PARAMS) == (
        "A network that hears speech alone reaches UAR .535 on emodb (chance .333); nothing was compared with it."
    )


def test_the_first_of_several_modes_is_named_without_corpora() -> None:
    each, _ = found({"pretrained": 0.05}, on=())
    assert each[0].sentence().startswith("Pretraining changed UAR on emodb by +.050 [")
