"""The model to use: all rows, the folds' measures, calibration, a card; and what may follow from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trainer.conftest import digest, labelled_rows, rated_rows, unlabelled_rows
from trainer.errors import InputError, Notice
from trainer.evaluation.significance import paired_test
from trainer.final.final import final, mode_of
from trainer.finetuning.finetune import finetune
from trainer.models.checkpoint import load_model
from trainer.params import FinetuneParams, Params
from trainer.predictor import Predictor
from trainer.pretraining.pretrain import pretrain
from trainer.report.report import report
from trainer.store import changed_files

Make = Callable[..., Path]
Tiny = Callable[..., Params]
Flow = Callable[..., tuple[Path, list[Path]]]


@pytest.fixture
def flow(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Flow:
    """Pretrain, fine-tune, report and train the final models in tmp_path/<where>."""

    def go(where: str, rows: list[dict[str, Any]], **finetuning: Any) -> tuple[Path, list[Path]]:
        params = tiny(finetune={"keep": "none", **finetuning})
        home, cache = tmp_path / where, tmp_path / where / "cache"
        shards = make_shards(where, rows)
        if set(params.finetune.modes) != {"scratch"}:
            pretrain(make_shards("unlabelled", unlabelled_rows()), home / "pretrain", params, cache=cache)
        places = shards, home / "pretrain"
        finetune(*places, home / "models", home / "reports", params, cache=cache)
        report(home / "reports", home / "pretrain", params.report)
        return home, final(*places, home / "final", home / "reports", params, cache=cache)

    return go


def two_corpora(**second: Any) -> list[dict[str, Any]]:
    return [*labelled_rows("one"), *labelled_rows("two", speakers=("k", "l", "m", "n"), seed=5, **second)]


def test_it_learns_from_all_rows_and_says_what_the_folds_say(flow: Flow) -> None:
    rows = labelled_rows()
    home, [folder] = flow("home", rows, label_fraction=0.5)
    model, metrics = load_model(folder), json.loads((folder / "metrics.json").read_text())
    assert folder == home / "final"
    assert metrics["n_train"] + metrics["n_dev"] == len(rows)  # all, though the folds learn from half of the labels
    assert metrics["n_test"] == 0
    assert "uar" not in metrics
    results = pd.read_csv(home / "reports" / "results.csv").set_index("mode")
    assert metrics["folds"][0]["uar_mean"] == pytest.approx(results.loc["pretrained", "uar_mean"])
    assert {"toy/a", "toy/f", "talk/u"} <= set(model.config["speakers"])  # those of pretraining too
    assert not changed_files(folder)


def test_its_probabilities_are_calibrated_by_the_folds(flow: Flow) -> None:
    home, [folder] = flow("home", labelled_rows(), modes=["scratch"])
    stated = load_model(folder).config["calibration"]
    held_out = pd.read_parquet(home / "reports" / "predictions.parquet")
    assert stated["n"] == len(held_out)
    assert Predictor(folder).temperature == pytest.approx(stated["temperature"])
    assert stated["nll_after"] < stated["nll_before"] + 0.05


def test_two_make_equal_folders_and_a_second_call_trains_nothing(flow: Flow, tiny: Tiny, tmp_path: Path) -> None:
    home, [folder] = flow("one", labelled_rows(), modes=["scratch"])
    before = digest(folder)
    started: list[tuple[int, int]] = []
    params = tiny(finetune={"keep": "none", "modes": ["scratch"]})
    final(tmp_path / "shards" / "one", home / "pretrain", folder, home / "reports", params, cache=home / "cache",
          on_start=lambda *counts: started.append(counts))  # fmt: skip
    assert digest(folder) == before
    assert started == [(1, 1)]


def test_the_card_names_data_measures_and_limits(flow: Flow) -> None:
    _, folders = flow("home", two_corpora())
    assert [folder.name for folder in folders] == ["one", "two"]
    card = (folders[1] / "README.md").read_text()
    assert "| two | 48 | 4 | not stated |" in card
    for words in ("UAR 0.", "interval over resampled speakers", "3 folds by speaker", "temperature", "Limits"):
        assert words in card
    assert "None" not in card
    assert "nan" not in card


@pytest.mark.parametrize(
    "objective", [{"objective": "attribute", "target": "arousal"}, {"objective": "soft", "target": "votes"}]
)
def test_other_objectives_have_no_calibration_and_a_card(flow: Flow, objective: dict[str, str]) -> None:
    _, [folder] = flow("home", rated_rows(), modes=["scratch"], **objective)
    assert "calibration" not in load_model(folder).config
    assert "not calibrated" in (folder / "README.md").read_text()


def test_without_final_the_folder_is_empty(flow: Flow) -> None:
    home, folders = flow("home", labelled_rows(), modes=["scratch"], final=False)
    assert folders == []
    assert list((home / "final").iterdir()) == []


def test_before_the_report_it_says_what_to_run(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="python -m trainer finetune"):
        final(make_shards("l", labelled_rows()), tmp_path, tmp_path / "final", tmp_path / "reports", tiny())


def test_a_fine_tuned_model_is_a_parent_and_its_speakers_are_known(
    flow: Flow, make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    home, [folder] = flow("home", labelled_rows("one"))
    params = tiny(finetune={"modes": ["scratch", "pretrained"]})
    other = make_shards("other", labelled_rows("two", speakers=("k", "l", "m"), emotions=("fear", "joy"), seed=3))
    runs = finetune(other, folder, tmp_path / "m", tmp_path / "r", params, cache=home / "cache")
    assert set(runs[runs["mode"] == "pretrained"]["pretrain_tasks"]) == {"emotion"}
    report(tmp_path / "r", folder, params.report)
    same = make_shards("same", labelled_rows("one"))
    with pytest.raises(InputError, match="were heard in pretraining"):
        finetune(same, folder, tmp_path / "m", tmp_path / "r", params, cache=home / "cache")


def test_across_corpora_each_is_tested_by_the_others_on_shared_classes(flow: Flow) -> None:
    rows = two_corpora(emotions=("neutral", "sadness", "surprise"))
    home, [folder] = flow("home", rows, folds="corpus", modes=["scratch"])
    runs = pd.read_csv(home / "reports" / "finetune_runs.csv").set_index("corpus")
    assert dict(runs["protocol"]) == {"one": "trained on two", "two": "trained on one"}
    assert set(runs["n_classes"]) == {2}
    shared = [row for row in rows if row["emotion"] in ("neutral", "sadness")]
    assert runs.loc["one", "n_test"] == sum(row["corpus"] == "one" for row in shared)
    assert runs.loc["one", "n_train"] + runs.loc["one", "n_dev"] == sum(row["corpus"] == "two" for row in shared)
    predictions = pd.read_parquet(home / "reports" / "predictions.parquet")
    assert set(predictions["target"]) == {"neutral", "sadness"}
    assert set(load_model(folder).config["corpora"]) == {"one", "two"}
    card = (folder / "README.md").read_text()
    assert "trained on two" in card
    assert "| one |" in card


def test_no_test_corpus_reaches_its_training(flow: Flow) -> None:
    rows = two_corpora()
    options = {"folds": "corpus", "modes": ["scratch"], "keep": "all"}
    one = flow("before", rows, **options)[0] / "models/one/scratch"
    for row in rows:
        if row["corpus"] == "one":
            row["features"] = (np.array(row["features"]) * 9 - 5).tolist()
    two = flow("after", rows, **options)[0] / "models/one/scratch"
    (before,), (after,) = (sorted(path.rglob("model.safetensors")) for path in (one, two))
    assert before.read_bytes() == after.read_bytes()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (labelled_rows("one"), {}, "only one has labels"),
        (two_corpora(emotions=("fear", "joy")), {}, "share fewer than two classes"),
    ],
)
def test_corpora_that_cannot_test_each_other_are_refused(
    flow: Flow, rows: list[dict[str, Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        flow("home", rows, folds="corpus", modes=["scratch"], **options)


def test_the_default_is_from_scratch_where_pretraining_did_harm() -> None:
    """By the sign of the folds' mean: that harm is shown by a test is too much to ask of a few folds and seeds."""
    rng = np.random.default_rng(0)

    def paired(difference: float, measure: str = "uar") -> pd.DataFrame:
        scratch = rng.normal(0.6, 0.05, 10)
        test = paired_test(scratch + difference + rng.normal(0, 0.01, 10), scratch)
        return pd.DataFrame([{"corpus": "toy", "mode": "pretrained", "measure": measure, **test}])

    options = FinetuneParams()
    assert mode_of(options, pd.DataFrame()) == "pretrained"
    assert mode_of(options, paired(0.05)) == "pretrained"
    with pytest.warns(Notice, match=r"pretraining did not help \(toy -0\.00\d uar\): the final model is trained from"):
        assert mode_of(options, paired(-0.005)) == "scratch"
    good_and_bad = pd.concat([paired(0.05), paired(-0.003).assign(corpus="other")])
    assert mode_of(options, good_and_bad) == "pretrained"
    with pytest.warns(Notice, match=r"pretraining did harm \(toy \+0\.0\d+ uar, other -0\.0\d+ uar\)"):
        assert mode_of(options, pd.concat([paired(0.08), paired(-0.05).assign(corpus="other")])) == "scratch"
    assert mode_of(options, paired(-0.05, "accuracy")) == "pretrained"  # not the objective's own score
    with pytest.warns(
        Notice, match=r"pretraining did harm \(toy -0\.0\d+ uar\): the final model is trained from scratch"
    ):
        assert mode_of(options, paired(-0.05)) == "scratch"
    chosen = FinetuneParams(modes=("scratch", "pretrained"), final_mode="pretrained")
    assert mode_of(chosen, paired(-0.05)) == "pretrained"
    assert mode_of(FinetuneParams(modes=("frozen", "scratch")), paired(-0.05)) == "frozen"
