"""The baselines: same folds and rows as the networks, honest scores, nothing computed twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tests import ROOT
from tests.trainer.baselines.tables import Rows, write_functionals
from tests.trainer.conftest import flip, labelled_rows, rated_rows
from trainer.baselines.functionals import open_functionals
from trainer.baselines.svm import build
from trainer.baselines.trials import baselines, plan_trials
from trainer.errors import InputError
from trainer.evaluation.tables import with_baselines
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.finetune import finetune
from trainer.params import BaselinesParams, Params, ReportParams
from trainer.report.report import report

MODES = ["majority", "svm-linear egemaps", "svm-linear compare", "svm-rbf egemaps", "svm-rbf compare"]


@pytest.fixture
def run(make_shards: Callable[..., Path], tiny: Callable[..., Params], tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Write shards and functionals of the rows and run the baselines into tmp_path/<where>."""

    def go(where: str = "a", *, data: Rows | None = None, missing: tuple[str, ...] = (), workers: int = 1,
           finetuning: dict[str, Any] | None = None, **options: Any) -> pd.DataFrame:  # fmt: skip
        rows = labelled_rows() if data is None else data
        shards = make_shards("labelled", rows)
        functionals = write_functionals(tmp_path / "functionals", rows, missing=missing)
        params = tiny(finetune=finetuning or {}, baselines=options)
        return baselines(shards, functionals, tmp_path / where, params, cache=tmp_path / "cache", workers=workers)

    return go


def test_svms_hear_what_the_majority_class_cannot(run: Callable[..., pd.DataFrame]) -> None:
    table = run().groupby("mode")["uar"].mean()
    assert sorted(table.index) == sorted(MODES)
    assert table["majority"] == pytest.approx(1 / 3)
    assert table.drop("majority").min() > 0.8


def test_statistics_of_the_shards_own_features_are_a_baseline(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    """Here the functionals are mean and deviation of the frames, so that both sets must answer alike."""
    table = run(models=["svm-rbf"], features=["compare", "features"])
    assert sorted(table["mode"].unique()) == ["svm-rbf compare", "svm-rbf features"]
    assert table["n_features"].nunique() == 1
    predictions = pd.read_parquet(tmp_path / "a" / "baselines_predictions.parquet").set_index(["segment_id", "mode"])[
        "predicted"
    ]
    answers = predictions.unstack()
    assert (answers["svm-rbf compare"] == answers["svm-rbf features"]).mean() > 0.98


def test_labels_without_signal_give_chance(run: Callable[..., pd.DataFrame]) -> None:
    """No way from the test labels into the training: shuffled labels end near chance."""
    rows = labelled_rows(per_class=12, signal=0.0)
    table = run(data=rows).groupby("mode")["uar"].mean()
    assert table.max() < 0.45  # chance 1/3; 216 test rows have a standard error of .03


def test_the_very_rows_and_folds_of_finetuning(
    run: Callable[..., pd.DataFrame], tiny: Callable[..., Params], tmp_path: Path
) -> None:
    table = run()
    networks = finetune(
        tmp_path / "shards" / "labelled", "none", tmp_path / "m", tmp_path / "a",
        tiny(finetune={"modes": ["scratch"], "epochs": 1}), cache=tmp_path / "cache",
    )  # fmt: skip
    predictions = pd.read_parquet(tmp_path / "a" / "baselines_predictions.parquet")
    theirs = pd.read_parquet(tmp_path / "a" / "predictions.parquet")
    assert list(predictions.columns) == list(theirs.columns)
    keys = ["corpus", "fold", "segment_id", "speaker", "target"]
    wanted = theirs[keys].sort_values(keys, ignore_index=True)
    for _, group in predictions.groupby("mode"):
        pd.testing.assert_frame_equal(group[keys].sort_values(keys, ignore_index=True), wanted)
    assert set(networks) - set(table) == {"dev_score", "best_epoch", "epochs", "updates"}
    assert set(table["train_rows"]) == {"all"}
    both = networks.groupby("fold")[["n_train", "n_dev"]].first().sum(axis=1)
    assert (table.groupby("fold")["n_train"].unique().str[0] == both).all()
    assert table[table["mode"] == "majority"]["n_features"].eq(0).all()

    shown, paired, _ = report(tmp_path / "a", tmp_path / "no_model", ReportParams(summary=""))
    assert shown["mode"].tolist() == ["scratch", *sorted(MODES)]
    assert set(paired["mode"]) == set(MODES)
    assert "svm-rbf compare" in (tmp_path / "a" / "results.md").read_text()
    assert "svm-rbf compare" in json.loads((tmp_path / "a" / "details.json").read_text())["finetune"]["toy"]

    run(finetuning={"folds": 2})
    with pytest.raises(InputError, match="python -m trainer baselines"):
        report(tmp_path / "a", tmp_path / "no_model", ReportParams(summary=""))


def test_nothing_is_computed_twice_and_threads_change_nothing(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    first = run("a", finetuning={"seeds": [0, 1]})
    assert set(first["seed"]) == {0}  # another seed would draw nothing: a copy of a row is no second result
    stored = sorted((tmp_path / "cache" / "baselines").iterdir())
    assert len(stored) == len(first)
    stamps = [path.stat().st_mtime_ns for path in stored]
    shutil.rmtree(stored[0])  # as if killed
    flip(stored[1] / "answers.json")
    again = run("b", workers=3, finetuning={"seeds": [0, 1]})
    assert [path.stat().st_mtime_ns for path in stored[2:]] == stamps[2:]
    pd.testing.assert_frame_equal(first, again)
    for name in ("baselines_runs.csv", "baselines_predictions.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    run("c", c=0.5, models=["svm-rbf"], features=["egemaps"])
    assert len(list((tmp_path / "cache" / "baselines").iterdir())) == len(first) + 3


def test_fewer_labels_are_fewer_labels(run: Callable[..., pd.DataFrame]) -> None:
    options: dict[str, Any] = {"models": ["svm-rbf"], "features": ["egemaps"]}
    whole = run(**options)
    half = run(finetuning={"label_fraction": 0.5, "seeds": [0, 1]}, **options)
    assert (half["label_fraction"] == 0.5).all()
    assert (half["n_train"] == whole["n_train"].iloc[0] / 2).all()
    assert len(half) == 2 * len(whole)  # each seed draws its own labels
    # Regression: with nobody held out for early stopping (the default) a share of nobody's rows was asked for.
    everyone = run(finetuning={"label_fraction": 0.5, "dev": "none", "monitor": "last"}, **options)
    assert (everyone["n_train"] == half["n_train"].iloc[0]).all()
    network = run(rows="network", **options)
    assert (network["n_train"] < whole["n_train"].iloc[0]).all()


def test_a_given_dev_split_is_no_training_material(run: Callable[..., pd.DataFrame]) -> None:
    rows = labelled_rows()
    for row in rows:
        row["split"] = {"e": "dev", "f": "test"}.get(row["speaker"], "train")
    table = run(data=rows, finetuning={"folds": "auto"})
    assert (table["n_train"] == 4 * 12).all()
    assert (table["n_test"] == 12).all()


def test_a_test_row_without_features_counts_against_the_svm(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    lost = ("toy_a_01#000", "toy_a_02#000", "toy_b_00#000")
    table = run(missing=lost)
    assert table.groupby("mode")["n_test_without_features"].sum().to_dict() == {
        mode: 0 if mode == "majority" else 3 for mode in MODES
    }
    predictions = pd.read_parquet(tmp_path / "a" / "baselines_predictions.parquet")
    assert predictions[predictions["segment_id"].isin(lost)].groupby("mode").size().eq(3).all()


def test_per_speaker_is_named(run: Callable[..., pd.DataFrame]) -> None:
    table = run(normalisation="speaker", models=["svm-rbf", "majority"], features=["egemaps"])
    assert set(table["mode"]) == {"svm-rbf egemaps per speaker", "majority"}
    assert set(table[table["mode"] != "majority"]["normalisation"]) == {"speaker"}


def test_there_are_no_baselines_beside_votes(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    assert run(finetuning={"objective": "soft", "target": "votes"}).empty
    runs, predictions = pd.DataFrame({"objective": ["soft"]}), pd.DataFrame({"p_anger": [0.5]})
    for before, got in zip((runs, predictions), with_baselines(tmp_path / "a", runs, predictions), strict=True):
        pd.testing.assert_frame_equal(before, got)


def test_attributes_are_estimated_by_regressions(
    run: Callable[..., pd.DataFrame], tiny: Callable[..., Params], tmp_path: Path
) -> None:
    rows = rated_rows()
    rows[0]["arousal"] = None
    finetuning = {"objective": "attribute", "target": "arousal+intensity"}
    table = run(data=rows, finetuning=finetuning).groupby("mode")[["ccc", "ccc_arousal", "ccc_intensity"]].mean()
    assert sorted(table.index) == sorted(MODES)
    assert table.loc["majority", "ccc_arousal"] == pytest.approx(0, abs=1e-6)  # the mean of the training rows
    assert table.drop("majority")["ccc_arousal"].min() > 0.5
    assert table["ccc_intensity"].abs().max() < 0.5  # no sound tells it
    networks = finetune(
        tmp_path / "shards" / "labelled", "none", tmp_path / "m", tmp_path / "a",
        tiny(finetune={"modes": ["scratch"], "epochs": 1, **finetuning}), cache=tmp_path / "cache",
    )  # fmt: skip
    predictions = pd.read_parquet(tmp_path / "a" / "baselines_predictions.parquet")
    theirs = pd.read_parquet(tmp_path / "a" / "predictions.parquet")
    assert list(predictions.columns) == list(theirs.columns)
    everything, answers = with_baselines(tmp_path / "a", networks, theirs)
    assert set(everything["mode"]) == {"scratch", *MODES}
    assert len(answers) == len(theirs) * 6
    # by hand, the first fold
    fold = predictions[(predictions["fold"] == "fold 1") & (predictions["mode"] == "svm-rbf compare")].set_index(
        "segment_id"
    )
    table = open_functionals(tmp_path / "functionals", pd.Series([row["segment_id"] for row in rows]), ["compare"])[
        "compare"
    ]
    test = np.array([row["segment_id"] in fold.index for row in rows])
    truth = np.array([np.nan if row["arousal"] is None else row["arousal"] for row in rows])
    learnt = ~test & ~np.isnan(truth)
    model = build("svm-rbf", BaselinesParams(), n_features=8, attribute=True)
    by_hand = model.fit(table.values[learnt], truth[learnt].astype(np.float32).astype(float)).predict(
        table.values[test]
    )
    ids = [row["segment_id"] for row, is_test in zip(rows, test, strict=True) if is_test]
    np.testing.assert_allclose(fold.loc[ids, "p_arousal"], by_hand, rtol=1e-6)


CHANGES = {
    "folds": {"folds": 2},
    "dev": {"dev": "none", "monitor": "last"},
    "seeds": {"seeds": [5], "label_fraction": 0.5},
    "objective": {"objective": "attribute", "target": "arousal"},
    "target": {"target": "mood"},
    "classes": {"classes": {"bad": ["anger", "sadness"], "good": ["neutral"]}},
    "joint": {"joint": True},
    "label_fraction": {"label_fraction": 0.5},
    "dev_share": {"dev_share": 0.5, "label_fraction": 0.5},
    "epochs": {"epochs": 3},
    "lr": {"lr": 0.5},
    "modes": {"modes": ["scratch"]},
}


def test_the_stage_looks_at_every_parameter_that_changes_a_trial(
    make_shards: Callable[..., Path], tiny: Callable[..., Params], tmp_path: Path
) -> None:
    """What is not in the stage's params in dvc.yaml would leave an old table in place."""
    rows = rated_rows() + rated_rows(corpus="two")
    for row in rows:
        row["mood"] = {"anger": "low", "sadness": "low", "neutral": "high"}[row["emotion"]]
    folder = make_shards("labelled", rows)

    def keys(change: dict[str, Any]) -> set[str]:
        params = tiny(finetune=change, baselines={"models": ["majority"]})
        shards = open_labelled(folder, params.finetune, cache=tmp_path)
        return {trial.key for trial in plan_trials(shards, {}, params)}

    watched = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["baselines"]["params"]
    before = keys({})
    changing = {name for name, change in CHANGES.items() if keys(change) != before}
    assert {f"finetune.{name}" for name in changing} <= set(watched)
    assert {"classes", "joint", "folds", "target", "objective"} <= changing
