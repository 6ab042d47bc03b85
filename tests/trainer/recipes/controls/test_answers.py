"""What the table of the controls says, from made-up runs whose gains are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trainer.recipes.controls.test_controls import ARMS
from trainer.params import ControlsParams, ReportParams
from trainer.recipes.controls.answers import answer, sentence
from trainer.recipes.controls.report import controls_table


def _table(better: float, control: float, *, parents: int = 0, luck: float = 0.0, **recipe: Any) -> pd.DataFrame:
    """Runs and predictions of 24 pairs in which an arm and its control gain so much.

    Those of the arm start from so many ``parents``, of which the first brings ``luck`` more.
    """
    rng = np.random.default_rng(0)
    runs = []
    for mode, gain in (("scratch", 0.0), ("dense", better), ("dense_exchanged", control)):
        for fold in range(6):
            for seed in range(4):
                parent = f"p{seed % parents}" if parents and mode != "scratch" else None
                score = 0.5 + gain + rng.normal(0, 0.02) + (luck if mode == "dense" and parent == "p0" else 0.0)
                rules: dict[str, Any] = {
                    "corpus": "toy",
                    "mode": mode,
                    "fold": str(fold),
                    "seed": seed,
                    "objective": "hard",
                }
                shown = {name: score for name in ("macro_precision", "uar", "macro_f1", "accuracy")}
                rules |= {
                    "objective": "hard",
                    "parent": parent,
                    "chance": 0.5,
                    "pretrain_speakers_in_test": 0,
                    "label_fraction": 0.1,
                }
                runs.append({**rules, **shown})
    table = pd.DataFrame(runs)
    answers = table.assign(segment_id=table["fold"] + "s", speaker=table["fold"], target="a", predicted="b")
    answers = pd.concat([answers, answers.assign(segment_id=table["fold"] + "t", target="b")])
    answers = answers.assign(p_a=0.4, p_b=0.6, confidence=0.6)
    arms = {
        "dense": {"control": "dense_exchanged"},
        "dense_exchanged": {"changes": {"pretrain.faces": "exchanged"}},
        **recipe.pop("arms", {}),
    }
    options = ControlsParams.model_validate({"arms": arms, "primary": "", **recipe})
    report = ReportParams(summary="", resamples=100, subsets=2)
    others = {name for name, arm in options.arms.items() if arm.changes}
    return controls_table(table, answers, report, options, of_others=others)


def test_a_gain_is_the_faces_only_where_it_beats_the_faces_of_others() -> None:
    found = _table(0.1, 0.0).set_index("arm")
    assert found.loc["dense", "answer"] == "the face teaches"
    assert found.loc["dense_exchanged", "answer"] == "no difference shown"
    assert "the face teaches the voice (dense: macro F1 +.1" in sentence(found.reset_index().to_dict("records"))
    found = _table(0.1, 0.1).set_index("arm")
    assert found.loc["dense", "answer"] == "better, not shown to be the face"
    assert found.loc["dense_exchanged", "answer"] == "better, with the faces of others"
    assert "no more than with the faces of others" in sentence(found.reset_index().to_dict("records"))
    found = _table(0.0, 0.0)
    assert sentence(found.to_dict("records")) == "toy: no gain by the face is shown."


def test_the_face_is_named_only_over_enough_pretrained_models() -> None:
    # Regression: 96 pairs that start from two pretrained models are not 96 answers about pretraining.
    found = {count: _table(0.1, 0.0, parents=count).set_index("arm").loc["dense"] for count in (1, 2, 4, 0)}
    assert found[1]["answer"] == found[2]["answer"] == "better, of too few pretrainings to name the face"
    assert found[4]["answer"] == found[0]["answer"] == "the face teaches"
    assert found[2]["pretrainings"] == found[2]["control_pretrainings"] == 2
    assert found[4]["pretrainings_low"] < found[4]["difference"] < found[4]["pretrainings_high"]
    one_of_four = _table(0.1, 0.0, parents=4, luck=0.4).set_index("arm").loc["dense"]
    assert one_of_four["conclusion"] == one_of_four["control_conclusion"] == "better"
    assert one_of_four["answer"] == "better, not shown over pretrainings to be the face"


def test_both_sides_need_enough_pretrained_models() -> None:
    sure = {"conclusion": "better", "pretrainings": 8, "pretrainings_mean": 0.1, "p_pretrainings": 0.01}
    row = {**sure, **{f"control_{name}": value for name, value in sure.items()}, "arm": "a", "control": "b"}
    assert answer(row, of_others={"b"}) == "the face teaches"
    for few in (2, None):
        found = answer({**row, "control_pretrainings": few}, of_others={"b"})
        assert found == "better, of too few pretrainings to name the face"
    unsure = "better, not shown over pretrainings to be the face"
    assert answer({**row, "control_p_pretrainings": 0.2}, of_others={"b"}) == unsure
    assert answer({**row, "pretrainings_mean": -0.1}, of_others={"b"}) == unsure


def test_a_control_of_another_kind_says_nothing_about_the_face() -> None:
    # Regression: any arm that beat its control was said to show that the face teaches.
    plain: dict[str, Any] = {"dense": {"control": "dense_exchanged"}, "dense_exchanged": {"mode": "scratch"}}
    found = _table(0.1, 0.0, arms=plain).set_index("arm")
    assert found.loc["dense", "answer"] == "better, also than dense_exchanged"
    assert sentence(found.reset_index().to_dict("records")) == "toy: better than scratch: dense."
    found = _table(0.1, 0.1, arms=plain).set_index("arm")
    assert found.loc["dense", "answer"] == "better, not shown to be more than dense_exchanged"
    assert found.loc["dense_exchanged", "answer"] == "better"


def test_the_primary_arm_alone_is_not_corrected() -> None:
    found = _table(0.01, 0.01, primary="dense").set_index("arm")
    assert found.loc["dense", "p_holm"] == found.loc["dense", "p"]
    both = _table(0.01, 0.01).set_index("arm")
    assert both.loc["dense", "p_holm"] >= both.loc["dense", "p"]
    assert both["p_holm"].max() <= 1
    assert answer({"arm": "a", "conclusion": "", "control": "x", "control_conclusion": "better"}, of_others=()) == ""
    with pytest.raises(ValueError, match="there is no arm tense"):
        ControlsParams.model_validate({"arms": ARMS, "primary": "tense"})
