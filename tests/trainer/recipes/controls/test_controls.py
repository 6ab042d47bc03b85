"""The controls on toy shards whose faces tell what the voices hide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from tests import ROOT
from tests.trainer.conftest import TRACKS, labelled_rows
from tests.trainer.finetuning.test_students import films_of
from trainer.cli import app
from trainer.errors import InputError, Notice
from trainer.finetuning.parents import Parents
from trainer.params import ControlsParams, Params, load_params, load_recipe
from trainer.params.changes import changes, with_changes
from trainer.recipes.controls.answers import answers
from trainer.recipes.controls.arms import Controls
from trainer.recipes.controls.report import read_controls
from trainer.recipes.controls.run import controls

Make = Callable[..., Path]
Tiny = Callable[..., Params]
ARMS: dict[str, Any] = {
    "same_labels": {"parent": "labels", "changes": {"finetune.transfer": "all"}},
    "dense": {"control": "dense_exchanged"},
    "dense_exchanged": {"changes": {"pretrain.faces": "exchanged"}},
    "face_student": {
        "mode": "student",
        "changes": {"finetune.self_training": {"teachers": 0, "face": 1.0}},
        "control": "face_student_exchanged",
    },
    "face_student_exchanged": {
        "mode": "student",
        "changes": {"finetune.self_training": {"teachers": 0, "face": 1.0, "faces": "exchanged"}},
    },
}


@pytest.fixture
def study(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Callable[..., Any]:
    """Return a small study and what it runs with."""

    def make(arms: dict[str, Any] | None = None, rows: Any = None, **recipe: Any) -> tuple[Any, ...]:
        rows = rows or labelled_rows(speakers=("a", "b", "c", "d"), per_class=6)
        schedule = {"epochs": 2, "patience": 2, "dev": "none", "monitor": "last"}
        params = tiny(
            pretrain={"epochs": 1, "tasks": [], "dense": ["energy", "aus"], "monitor": "last"},
            finetune={**schedule, "folds": 2},
            report={"summary": "", "resamples": 100, "subsets": 4},
        )
        options = {
            "arms": ARMS if arms is None else arms,
            "seeds": [7, 8],
            "label_fractions": [0.25],
            "primary": "",
            **recipe,
        }
        films = make_shards("films", films_of(rows), dense=TRACKS)
        return make_shards("labelled", rows), films, params, ControlsParams.model_validate(options)

    return make


def test_every_arm_meets_scratch_and_its_control_on_the_same_pairs(study: Callable[..., Any], tmp_path: Path) -> None:
    labelled, films, params, recipe = study(primary="face_student")
    started: list[tuple[int, int]] = []
    names: list[str] = []
    where = {"cache": tmp_path / "c"}
    table = controls(
        labelled, films, tmp_path / "r", params, recipe, **where,
        on_start=lambda total, done: started.append((total, done)), on_run=names.append,
    )  # fmt: skip
    assert table["arm"].tolist() == ["scratch", *ARMS]
    assert (table["pairs"].dropna() == 4).all()
    assert table["folds"].eq(2).all()
    assert table.set_index("arm")["control_pairs"].dropna().index.tolist() == ["dense", "face_student"]
    assert table["pretrain_speakers_in_test"].eq(0).all()  # the parents of ceilings too
    face = table.set_index("arm").loc["face_student"]
    assert face["face_uar"] > 0.9
    assert face["p_holm"] == face["p"]  # named before, not corrected
    assert started[0][0] == len(names)  # (1 + 2) x 2 pretrainings, 2 teachers of the ceiling, 6 arms x 4
    assert len(names) == 6 + 2 + 6 * 4
    text = (tmp_path / "r" / "controls.md").read_text()
    assert "| face_student * |" in text
    assert text.index("toy:") < text.index("| arm |")  # the answer first
    again: list[str] = []
    controls(labelled, films, tmp_path / "r2", params, recipe, **where, workers=2, on_run=again.append)
    assert again == []
    assert (tmp_path / "r2" / "controls.csv").read_bytes() == (tmp_path / "r" / "controls.csv").read_bytes()


def test_a_ceiling_starts_from_all_labels_of_the_training_speakers(study: Callable[..., Any], tmp_path: Path) -> None:
    labelled, films, params, recipe = study({"same_labels": ARMS["same_labels"]})
    made = Controls.of(labelled, films, params, recipe, cache=tmp_path / "c")
    (leg,) = [leg for leg in made.legs if leg.teachers]
    for teacher, child in zip(leg.teachers, made.runs(leg)[::2], strict=True):
        assert teacher.fold == child.fold
        assert len(teacher.train) == 4 * len(child.train)
        assert set(child.train) < set(teacher.train)
        assert not set(teacher.train) & set(child.test)


def test_another_corpus_can_be_the_ceiling_where_there_is_one(study: Callable[..., Any], tmp_path: Path) -> None:
    arms = {"other_labels": {"parent": "other_labels", "changes": {"finetune.transfer": "all"}}}
    rows = labelled_rows("one", speakers=("a", "b"), per_class=6) + labelled_rows("two", speakers=("a", "b"))
    made = Controls.of(*study(arms, rows), cache=tmp_path / "c")
    taught = {run.corpus: leg.teachers[0].corpus for leg in made.legs if leg.teachers for run in made.runs(leg)}
    assert taught == {"one": "two", "two": "one"}
    with pytest.warns(Notice, match="left out: other_labels. The labelled shards hold one corpus"):
        alone = Controls.of(*study(arms), cache=tmp_path / "c")
    assert alone.arms == ["scratch"]


def test_what_starts_from_no_film_needs_none(study: Callable[..., Any], tmp_path: Path) -> None:
    arms = {
        "other_labels": {
            "parent": "other_labels",
            "changes": {"finetune.normalisation": "utterance"},
            "control": "own",
        },
        "own": {"mode": "scratch", "changes": {"finetune.normalisation": "utterance"}},
    }
    rows = labelled_rows("one", speakers=("a", "b"), per_class=6) + labelled_rows("two", speakers=("a", "b"))
    labelled, _, params, recipe = study(arms, rows)
    table = controls(labelled, tmp_path / "none", tmp_path / "r", params, recipe, cache=tmp_path / "c")
    assert table["arm"].tolist() == ["scratch", "other_labels", "own"] * 2
    assert table["control_pairs"].dropna().tolist() == [4, 4]
    text = (tmp_path / "r" / "controls.md").read_text()
    assert text.startswith("# Controls\n\none: no arm is shown to be better than scratch.\n")
    with pytest.raises(InputError, match=r"no shards .* in .*none"):
        Controls.of(labelled, tmp_path / "none", params, study({"dense": {}}, rows)[3], cache=tmp_path / "c")


def test_exchanged_faces_never_come_from_the_tested(study: Callable[..., Any], tmp_path: Path) -> None:
    labelled, films, params, recipe = study({"dense_exchanged": ARMS["dense_exchanged"]})
    made = Controls.of(labelled, films, params, recipe, cache=tmp_path / "c")
    (leg,) = [leg for leg in made.legs if leg.pretrainings is not None]
    assert leg.pretrainings is not None
    parents = leg.pretrainings.parents(made.films)
    assert isinstance(parents, Parents)
    for run in made.runs(leg):
        assert not parents.of(run.corpus, run.fold).speakers & set(made.labelled.speakers[run.test])


def test_teachers_that_look_need_films(study: Callable[..., Any], tmp_path: Path) -> None:
    # Regression: without films the student of the face and its control were the same networks, and the table said
    # that the face brings nothing.
    labelled, _, params, recipe = study({name: ARMS[name] for name in ("face_student", "face_student_exchanged")})
    with pytest.raises(InputError, match=r"no shards .* in .*none"):
        Controls.of(labelled, tmp_path / "none", params, recipe, cache=tmp_path / "c")


def test_the_faces_of_others_are_seen_through_a_variant(study: Callable[..., Any], tmp_path: Path) -> None:
    labelled, films, params, recipe = study(
        {"dense": {}, "other": {"variant": "others"}, "student": {"mode": "student"}}
    )
    params = params.model_copy(update={"variants": {"others": {"pretrain.faces": "exchanged"}}})
    made = Controls.of(labelled, films, params, recipe, cache=tmp_path / "c")
    assert {leg.arm for leg in made.legs if leg.of_others} == {"other"}


def test_shares_of_the_labels_are_averaged_pair_by_pair(study: Callable[..., Any], tmp_path: Path) -> None:
    options = study({"dense": {}}, label_fractions=[0.25, 0.5])
    table = controls(*options[:2], tmp_path / "r", *options[2:], cache=tmp_path / "c")
    assert table["label_fractions"].tolist() == [share for share in ("25 + 50 %", "25 %", "50 %") for _ in range(2)]
    assert table["pairs"].dropna().tolist() == [4, 4, 4]
    runs = pd.read_parquet(tmp_path / "r" / "controls_runs.parquet")
    scores = runs.pivot_table(index=["fold", "seed"], columns=["mode", "label_fraction"], values="macro_f1")
    gains = (scores["dense"] - scores["scratch"]).mean(axis=1)
    dense = table[table["arm"] == "dense"]
    assert dense["difference"].iloc[0] == pytest.approx(gains.mean())
    assert dense["difference_std"].iloc[0] == pytest.approx(gains.std())
    assert dense["difference"].iloc[0] == pytest.approx(dense["difference"].iloc[1:].mean())
    pooled = table["pooled_macro_f1"]
    assert pooled.iloc[:2].tolist() == pytest.approx([(pooled[2] + pooled[4]) / 2, (pooled[3] + pooled[5]) / 2])
    (answer_rows,) = answers(table)
    assert set(answer_rows["label_fractions"]) == {"25 + 50 %"}


def test_a_costly_arm_may_have_fewer_seeds(study: Callable[..., Any], tmp_path: Path) -> None:
    arms = {"few": {"seeds": 1}, "dense": {}}
    options = study(arms, seeds=[7, 8, 9], pretrain_seeds=[1, 2])
    made = Controls.of(*options, cache=tmp_path / "c")
    seeds = {arm: {run.seed for leg in made.legs if leg.arm == arm for run in made.runs(leg)} for arm in made.arms}
    assert seeds == {"scratch": {7, 8, 9}, "few": {7}, "dense": {7, 8, 9}}
    table = controls(*options[:2], tmp_path / "r", *options[2:], cache=tmp_path / "c")
    assert table["pairs"].dropna().tolist() == [2, 6]


@pytest.mark.parametrize("name", ["params", "foreign", "domain"])
def test_the_recipes_that_come_along_fit_the_parameters(name: str) -> None:
    params, recipe = (
        load_params(ROOT / "params.yaml"),
        load_recipe(ROOT / f"recipes/controls/{name}.yaml", ControlsParams),
    )
    for arm, options in recipe.arms.items():
        with_changes(params, changes(options.changes), where=arm)


def test_the_command_runs_and_shows(study: Callable[..., Any], tmp_path: Path) -> None:
    labelled, films, params, recipe = study({"dense": {}}, seeds=[7])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    options = ["--params", tmp_path / "params.yaml", "--recipe", tmp_path / "recipe.yaml", "--reports", tmp_path / "r"]
    options += ["--shards", labelled, "--unlabelled", films, "--cache", tmp_path / "c", "--workers", 1]
    for more in ([], ["--show"]):
        result = CliRunner().invoke(app, ["controls", *map(str, [*options, *more])], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "no arm is shown to be better than scratch" in result.output
    missing = CliRunner().invoke(app, ["controls", *map(str, [*options, "--show", "--reports", tmp_path / "none"])])
    assert missing.exit_code == 2
    with pytest.raises(InputError, match="no finished controls"):
        read_controls(tmp_path / "none")
