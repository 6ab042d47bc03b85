"""What every row of a run says: target, labels, rules, normalisation, protocol; every objective from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trainer.conftest import labelled_rows, rated_rows
from trainer.errors import InputError
from trainer.finetuning.collect import named_normalisation
from trainer.finetuning.finetune import finetune
from trainer.models.checkpoint import load_model
from trainer.objectives import OBJECTIVES
from trainer.params import FinetuneParams, Params, ReportParams
from trainer.predict import predict
from trainer.report.report import report

Make = Callable[..., Path]
REPORT = ReportParams(summary="", resamples=200, subsets=5)


@pytest.fixture
def scratch(make_shards: Make, tiny: Callable[..., Params], tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Fine-tune from scratch into tmp_path/<where>."""

    def go(where: str, rows: list[dict[str, Any]], **options: Any) -> pd.DataFrame:
        params = tiny(finetune={"modes": ["scratch"], "folds": 2, "epochs": 6, **options})
        home = tmp_path / where
        shards = make_shards("labelled", rows)
        return finetune(shards, home / "none", home / "models", home / "reports", params, cache=tmp_path / "cache")

    return go


def test_a_row_says_everything(scratch: Callable[..., pd.DataFrame]) -> None:
    runs = scratch("home", rated_rows(), label_fraction=0.5)
    row = runs.iloc[0].to_dict()
    expected = {
        "corpus": "toy",
        "mode": "scratch",
        "fold": "fold 1",
        "seed": 0,
        "target": "emotion",
        "objective": "hard",
        "label_source": "voice",
        "label_rule": "plurality",
        "n_classes": 3,
        "normalisation": "train",
        "protocol": "2 folds by speaker",
        "label_fraction": 0.5,
        "pretrain_tasks": None,
        "allow_pretrain_speakers": False,
    }
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label_source", "face", r"corpus toy mixes the label_source 'face' \(1 rows, e.g. toy_a_00#000\) and 'voice'"),
        ("label_source", None, r"mixes the label_source '\(not stated\)' \(1 rows"),
        ("label_rule", "majority", "mixes the label_rule 'majority'"),
    ],
)
def test_mixed_labels_of_one_corpus_are_refused(
    scratch: Callable[..., pd.DataFrame], column: str, value: str | None, message: str
) -> None:
    rows = rated_rows()
    rows[0][column] = value
    with pytest.raises(InputError, match=message):
        scratch("home", rows)
    rows[0]["emotion"] = None
    scratch("without", rows, epochs=1)  # a row without the target does not count


def test_two_corpora_may_have_two_sources(scratch: Callable[..., pd.DataFrame]) -> None:
    acted = [{**row, "label_source": "acted", "label_rule": None} for row in rated_rows(corpus="other")]
    runs = scratch("home", rated_rows() + acted, epochs=1)
    assert runs.groupby("corpus")["label_source"].first().to_dict() == {"other": "acted", "toy": "voice"}


def test_per_speaker_normalisation_is_named_and_lives_in_the_model(
    scratch: Callable[..., pd.DataFrame], make_shards: Make, tmp_path: Path
) -> None:
    rows = labelled_rows()
    plain = scratch("train", rows)
    own = scratch("speaker", rows, normalisation="speaker")
    assert (set(plain["normalisation"]), set(own["normalisation"])) == ({"train"}, {"speaker"})
    names = [tmp_path / where / "models" / "toy" / "scratch" / "model.safetensors" for where in ("train", "speaker")]
    assert names[0].read_bytes() != names[1].read_bytes()
    assert set(scratch("parent", rows, normalisation="parent")["normalisation"]) == {"train"}  # scratch has no parent
    # the folder normalises new shards in the same way: shifting one speaker's features changes nothing
    model = tmp_path / "speaker" / "models" / "toy" / "scratch"
    assert load_model(model).spec.normalisation.scope == "speaker"
    before = predict(make_shards("labelled", rows), model, cache=tmp_path / "cache")
    for row in rows:
        if row["speaker"] == "a":
            row["features"] = (np.array(row["features"]) * 2 + 300).tolist()
    after = predict(make_shards("shifted", rows), model, cache=tmp_path / "cache")
    np.testing.assert_allclose(before["emotion_confidence"], after["emotion_confidence"], atol=1e-3)


OPTIONS: dict[str, dict[str, Any]] = {
    "hard": {"label_smoothing": 0.05},
    "soft": {"objective": "soft", "target": "votes"},
    "multilabel": {"objective": "multilabel", "target": "votes", "vote_threshold": 0.25},
    "attribute": {"objective": "attribute", "target": "arousal+intensity"},
}
LEARNED = {
    "hard": ("uar", 0.5),
    "soft": ("uar", 0.5),
    "multilabel": ("macro_f1", 0.5),
    "attribute": ("ccc_arousal", 0.3),
}


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_every_objective_learns_reports_and_predicts(
    scratch: Callable[..., pd.DataFrame], make_shards: Make, tmp_path: Path, kind: str
) -> None:
    rows = rated_rows()
    runs = scratch("home", rows, **{**OPTIONS[kind], "epochs": 20})
    measure, least = LEARNED[kind]
    assert set(runs["objective"]) == {kind}
    assert runs[measure].mean() > least
    home = tmp_path / "home"
    table, paired, _ = report(home / "reports", tmp_path / "none", REPORT)
    assert paired.empty
    (row,) = table.to_dict("records")
    shown = OBJECTIVES[kind](("a", "b")).shown if kind != "attribute" else ("ccc", "ccc_arousal", "ccc_intensity")
    for name in shown:
        assert row[f"pooled_{name}_low"] <= row[f"pooled_{name}"] <= row[f"pooled_{name}_high"]
    classes = pd.read_csv(home / "reports" / "classes.csv")
    assert classes["class"].tolist() == ([] if kind == "attribute" else ["anger", "neutral", "sadness"])

    # the folder predicts on its own what was tested
    predictions = predict(make_shards("labelled", rows), home / "models" / "toy" / "scratch", cache=tmp_path / "cache")
    entry = json.loads((home / "models" / "index.json").read_text())[0]
    known = pd.read_parquet(home / "reports" / "predictions.parquet").query(f"fold == '{entry['fold']}'")
    target = OPTIONS[kind].get("target", "emotion")
    column = "arousal" if kind == "attribute" else f"{target}_p_anger"
    both = known.merge(predictions[["segment_id", column]], on="segment_id")
    np.testing.assert_allclose(both["p_arousal" if kind == "attribute" else "p_anger"], both[column], atol=1e-5)


def test_label_rules_of_votes_and_attributes(scratch: Callable[..., pd.DataFrame]) -> None:
    rows = rated_rows()
    stated = {}
    for kind, options in [*OPTIONS.items(), ("strength", {"objective": "attribute", "target": "intensity"})]:
        row = scratch(kind, rows, **{**options, "epochs": 1}).iloc[0]
        stated[kind] = (row["label_source"], row["label_rule"], row["n_classes"])
    assert stated == {
        "hard": ("voice", "plurality", 3),
        "soft": ("voice", "vote shares", 3),
        "multilabel": ("voice", "vote share > 0.25", 3),
        "attribute": ("voice", "mean rating", 0),
        "strength": ("acted", "intended strength", 0),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "mood"}, "no row has a label for finetune.target 'mood'"),
        ({"objective": "soft", "target": "votes"}, "no row has a label for finetune.target 'votes'"),
        ({"objective": "attribute", "target": "valence"}, "no row has a label for finetune.target 'valence'"),
    ],
)
def test_a_target_that_nobody_labelled_is_named(
    scratch: Callable[..., pd.DataFrame], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        scratch("home", labelled_rows(), **options)


def test_one_class_is_no_task(scratch: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(InputError, match=r"corpus toy: only one class \(anger\)"):
        scratch("home", labelled_rows(emotions=("anger",)))


def test_whose_statistics_a_parent_brings_is_named() -> None:
    # Regression: a parent that was normalised speaker by speaker brought that along, test speakers included, unnamed.
    options = FinetuneParams(normalisation="parent")
    for scope, name in (("train", "parent"), ("speaker", "parent (speaker)")):
        assert named_normalisation("pretrained", options, {"normalisation": {"scope": scope}}) == name
    assert named_normalisation("scratch", options, None) == "train"
