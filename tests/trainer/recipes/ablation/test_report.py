"""That the table of an ablation is what its runs say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.trainer.conftest import unlabelled_rows
from trainer.errors import InputError
from trainer.evaluation.significance import holm
from trainer.recipes.ablation.report import read_ablation

Make = Callable[..., Path]


def test_the_table_is_what_the_runs_say(study: Callable[..., Any]) -> None:
    params = study.settings(tasks=[[1], [1, 2, 3]], finetune={"seeds": [0, 1, 2]}, label_fractions=[0.5, 1.0])
    table = study().run(params)
    runs = pd.read_parquet(study.reports / "ablation_runs.parquet")
    assert len(runs) == (2 + 2 * 2) * 6  # scratch and two task sets at two shares, 2 folds x 3 seeds
    cells = table[table["mode"] != "scratch"]
    assert len(cells) == 4
    for row in cells.to_dict("records"):
        at = runs["label_fraction"] == row["label_fraction"]
        own = runs[at & (runs["mode"] == "pretrained") & (runs["tasks"] == row["tasks"])].set_index(["fold", "seed"])
        base = runs[at & (runs["mode"] == "scratch")].set_index(["fold", "seed"])
        difference = (own["macro_f1"] - base["macro_f1"]).to_numpy()
        assert row["pairs"] == len(difference) == 6
        for measure in ("macro_f1", "uar"):
            assert row[f"{measure}_mean"] == pytest.approx(own[measure].mean())
            assert row[f"{measure}_std"] == pytest.approx(own[measure].std())
        assert row["uar_difference"] == pytest.approx((own["uar"] - base["uar"]).mean())
        assert row["difference"] == pytest.approx(difference.mean())
        assert row["scratch_mean"] == pytest.approx(base["macro_f1"].mean())
        assert row["relative_gain"] == pytest.approx(100 * difference.mean() / base["macro_f1"].mean())
        test = stats.ttest_rel(own["macro_f1"].loc[base.index], base["macro_f1"])
        assert row["p"] == pytest.approx(test.pvalue)
        bounds = test.confidence_interval(0.95)
        assert (row["pairs_low"], row["pairs_high"]) == pytest.approx((bounds.low, bounds.high))
        assert (row["protocol"], row["normalisation"], row["label_source"]) == ("2 folds by speaker", "train", "acted")
        assert not row["synthetic"]
    np.testing.assert_allclose(cells["p_holm"], holm(cells["p"]))
    text = (study.reports / "ablation.md").read_text()
    assert "label acted" in text
    assert "Over all shares of the labels" in text
    over = pd.read_csv(study.reports / "ablation_overall.csv")
    assert list(over["label_fractions"]) == ["50 + 100 %"] * 2
    for row in over.to_dict("records"):
        cell = runs[(runs["mode"] == "pretrained") & (runs["tasks"].astype(str) == str(row["tasks"]))]
        sides = [part.groupby(["fold", "seed"])["macro_f1"].mean() for part in (cell, runs[runs["mode"] == "scratch"])]
        test = stats.ttest_rel(*sides)
        assert (row["pairs"], row["p"]) == (6, pytest.approx(test.pvalue))
        assert row["difference"] == pytest.approx((sides[0] - sides[1]).mean())
        both = cells[cells["tasks"] == str(row["tasks"])]["difference"]
        assert row["difference"] == pytest.approx(both.mean())  # of equally many pairs
    assert (study.reports / "ablation.png").stat().st_size > 1000


def test_one_share_of_the_labels_has_nothing_to_average_over(study: Callable[..., Any]) -> None:
    study().run(study.settings())
    assert not len(pd.read_csv(study.reports / "ablation_overall.csv"))
    assert "Over all shares of the labels" not in (study.reports / "ablation.md").read_text()


def test_scratch_is_trained_once_unless_a_variant_changes_its_network(study: Callable[..., Any]) -> None:
    variants = {"conv": {"finetune.transfer": "conv"}, "quick": {"finetune": {"epochs": 1}}}
    table = study().run(study.settings(variants=variants, tasks=[[1], [1, 2, 3]]))
    scratch = table[table["mode"] == "scratch"]
    assert list(scratch["variant"]) == ["paper, conv", "quick"]
    runs = pd.read_parquet(study.reports / "ablation_runs.parquet")
    assert (runs["mode"] == "scratch").sum() == 2 * 2
    assert runs[(runs["mode"] == "scratch") & (runs["variant"] == "quick")]["epochs"].max() == 1


def test_several_pretraining_seeds_are_taken_in_turn(study: Callable[..., Any]) -> None:
    table = study().run(study.settings(finetune={"seeds": [0, 1, 2]}, pretrain_seeds=[0, 4]))
    runs = pd.read_parquet(study.reports / "ablation_runs.parquet").query("mode == 'pretrained'")
    assert dict(zip(runs["seed"], runs["pretrain_seed"], strict=True)) == {0: 0, 1: 4, 2: 0}
    assert table[table["mode"] == "pretrained"]["pairs"].tolist() == [6]


def test_generated_speech_is_named_whichever_side_it_is_on(
    study: Callable[..., Any], make_shards: Make, tmp_path: Path
) -> None:
    small = study()
    small.unlabelled = make_shards("films", unlabelled_rows("synthetic-films"))
    table = small.run(study.settings())
    assert dict(zip(table["mode"], table["synthetic"], strict=True)) == {"scratch": False, "pretrained": True}
    assert "SYNTHETIC in part: synthetic-films" in (study.reports / "ablation.md").read_text()


def test_a_table_of_an_older_version_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished ablation"):
        read_ablation(tmp_path)
    pd.DataFrame({"recipe": ["paper"]}).to_parquet(tmp_path / "ablation.parquet")
    with pytest.raises(InputError, match="of an older version"):
        read_ablation(tmp_path)
