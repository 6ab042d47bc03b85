"""The ablation: what its grid holds, that it resumes, and that its table is what the runs say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.cli import app
from trainer.data.rows import speaker_keys
from trainer.data.splits import unlabelled_subset
from trainer.errors import InputError
from trainer.evaluation.significance import holm, mean_interval
from trainer.params import Params
from trainer.params.changes import with_recipe
from trainer.pretraining.pretrain import pretrain
from trainer.recipes.ablation.grid import grid
from trainer.recipes.ablation.study import Counts, Study, ablation

Make = Callable[..., Path]
Tiny = Callable[..., Params]
QUICK = {"epochs": 2, "patience": 2}


@pytest.fixture
def study(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Callable[..., Any]:
    """Return parameters of a small ablation, and a function that runs it into tmp_path/reports."""

    class Small:
        labelled = make_shards("labelled", labelled_rows(speakers=("a", "b", "c", "d")))
        unlabelled = make_shards("unlabelled", unlabelled_rows())
        cache = tmp_path / "cache"
        reports = tmp_path / "reports"

        @staticmethod
        def params(
            *, recipes: dict[str, Any] | None = None, finetune: dict[str, Any] | None = None, **options: Any
        ) -> Params:
            verdict = {"run": False, "min_pairs": 2, "seeds": [8], "pretrain_seeds": [5], **options.pop("verdict", {})}
            names = {"paper": {}, **(recipes or {})}
            defaults = {"recipes": list(names), "tasks": [[1, 2, 3]], "modes": ["pretrained"], "label_fractions": [0.5]}
            return tiny(
                pretrain=QUICK,
                finetune={**QUICK, "folds": 2, **(finetune or {})},
                recipes=names,
                ablation={"unlabelled_fractions": [1.0], **defaults, **options, "verdict": verdict},
                report={"extra": [], "resamples": 100, "subsets": 4},
            )

        def run(self, params: Params, **options: Any) -> pd.DataFrame:
            return ablation(self.labelled, self.unlabelled, self.reports, params, cache=self.cache, **options)

        def study(self, params: Params) -> Study:
            return Study.of(self.labelled, self.unlabelled, params, cache=self.cache)

    return Small


def _cells(params: Params) -> list[tuple[Any, ...]]:
    return [
        (
            *(cell.part, cell.recipe, "".join(map(str, cell.params.pretrain.tasks)), cell.mode),
            *(cell.params.finetune.label_fraction, cell.params.pretrain.unlabelled_fraction),
        )
        for cell in grid(params)
    ]


def test_the_grid_varies_the_amount_of_speech_with_the_recipes_own_tasks(study: Callable[..., Any]) -> None:
    varied = {"tasks": [[1], [2, 1]], "unlabelled_fractions": [0.5, 1.0], "label_fractions": [0.5]}
    cells = _cells(study.params(**varied))
    assert cells == [
        ("ablation", "paper", tasks, "pretrained", 0.5, share)
        for tasks, share in (("1", 1.0), ("12", 1.0), ("123", 0.5), ("123", 1.0))
    ]
    crossed = _cells(study.params(**varied, cross=True))
    assert set(cells) < set(crossed)
    assert {(cell[2], cell[5]) for cell in crossed} == {(t, s) for t in ("1", "12", "123") for s in (0.5, 1.0)}


def test_a_recipe_is_tried_with_parts_of_its_own_tasks(study: Callable[..., Any]) -> None:
    own = {"two": {"pretrain.tasks": [1, 2]}, "none": {"pretrain": {"tasks": [], "dense": ["energy"]}}}
    cells = _cells(study.params(recipes=own, tasks=[[1], [3], [2, 3]], modes=["pretrained", "frozen"]))
    found = {name: [cell[2:4] for cell in cells if cell[1] == name] for name in ("paper", *own)}
    modes = ("pretrained", "frozen")
    assert found["paper"] == [(tasks, mode) for tasks in ("1", "3", "23", "123") for mode in modes]
    assert found["two"] == [(tasks, mode) for tasks in ("1", "12") for mode in modes]
    assert found["none"] == [("", mode) for mode in modes]


def test_every_combination_of_the_grid_is_there_once(study: Callable[..., Any]) -> None:
    subsets = [[1], [2], [3], [1, 2], [1, 3], [2, 3], [1, 2, 3]]
    shares = {"label_fractions": [0.1, 0.25, 0.5, 1.0], "unlabelled_fractions": [0.25, 0.5, 1.0]}
    cells = _cells(study.params(tasks=subsets, modes=["pretrained", "frozen"], cross=True, **shares))
    assert len(cells) == len(set(cells)) == 7 * 2 * 4 * 3


def test_the_verdict_takes_fresh_seeds_and_every_recipe_once(study: Callable[..., Any]) -> None:
    fresh = {"run": True, "seeds": [7, 8, 9], "pretrain_seeds": [5, 6], "label_fractions": [0.25, 1.0]}
    params = study.params(recipes={"slow": {"pretrain.lr": 0.001}}, tasks=[[1], [2]], verdict=fresh)
    cells = [cell for cell in grid(params) if cell.part == "verdict"]
    assert [(cell.recipe, cell.params.finetune.label_fraction) for cell in cells] == [
        (name, share) for name in ("paper", "slow") for share in (0.25, 1.0)
    ]
    assert {cell.params.pretrain.tasks for cell in cells} == {(1, 2, 3)}
    legs = [(legs.finetune.seeds, parent) for legs, parent in cells[0].legs]
    assert legs == [((7, 9), 5), ((8,), 6)]  # pretraining seeds in turn
    with pytest.raises(InputError, match=r"verdict\.seeds \[0\] are among finetune\.seeds"):
        grid(study.params(verdict={"run": True, "seeds": [0, 1]}))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"pretrain": {"epoch": 3}}, r"recipes\.odd:\n  pretrain\.epoch: unknown key"),
        ({"pretrain.tasks": [4]}, r"subset of \[1, 2, 3\]"),
        ({"finetune": {"seeds": [3]}}, r"finetune\.seeds is the same for all recipes"),
        ({"pretrain": {"unlabelled_fraction": 0.5}}, "is the same for all recipes"),
        ({"report": {"alpha": 0.5}}, r"report\.alpha is no key of encoder, pretrain, finetune"),
        ({"pretrain": 3}, "pretrain is no key of"),
    ],
)
def test_wrong_recipes_are_named(study: Callable[..., Any], recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_recipe(study.params(recipes={"odd": recipe}), "odd")


def test_nested_and_dotted_recipes_are_one(study: Callable[..., Any]) -> None:
    params = study.params(
        recipes={
            "nested": {"pretrain": {"tasks": [3, 1]}, "finetune": {"transfer": "conv"}},
            "dotted": {"pretrain.tasks": [1, 3], "finetune.transfer": "conv"},
        }
    )
    assert with_recipe(params, "nested") == with_recipe(params, "dotted")
    assert with_recipe(params, "dotted").pretrain.tasks == (1, 3)
    with pytest.raises(InputError, match=r"no recipe 'none'; section recipes has: dotted, nested, paper"):
        with_recipe(params, "none")


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    by=st.sampled_from(["clips", "speakers"]),
    seed=st.integers(0, 5),
)
def test_smaller_draws_of_unlabelled_speech_lie_in_larger_ones(
    sizes: list[int], shares: tuple[float, float], by: str, seed: int
) -> None:
    """Clips of 1-9 segments, three clips a speaker; whole groups, and no other draw for an equal seed."""
    clips = np.repeat(np.arange(len(sizes)), sizes)
    rows = pd.DataFrame({"corpus": "c", "speaker": [f"s{clip // 3}" for clip in clips], "clip_id": clips.astype(str)})
    rows["segment_id"] = [str(number) for number in range(len(rows))]
    small, large = (
        unlabelled_subset(rows, fraction=share, by=by, rng=np.random.default_rng(seed)) for share in sorted(shares)
    )
    assert set(small) <= set(large)
    assert len(small)
    groups = np.array(rows["clip_id"]) if by == "clips" else speaker_keys(rows)
    for draw in (small, large):
        outside = np.setdiff1d(np.arange(len(rows)), draw)
        assert not set(groups[draw]) & set(groups[outside])
    if by == "clips":
        assert set(rows["speaker"][small]) == set(rows["speaker"])
    whole = unlabelled_subset(rows, fraction=1.0, by=by, rng=np.random.default_rng(seed))
    assert len(whole) == len(rows)


def test_pretraining_on_less_speech_keeps_the_held_out_speakers(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    folder = make_shards("u", unlabelled_rows())
    metrics = {
        share: pretrain(
            folder, tmp_path / str(share), tiny(pretrain={**QUICK, "unlabelled_fraction": share}), cache=tmp_path / "c"
        )
        for share in (0.5, 1.0)
    }
    assert metrics[0.5]["held_out"] == metrics[1.0]["held_out"]
    assert metrics[0.5]["train"]["speakers"] == metrics[1.0]["train"]["speakers"]
    assert metrics[0.5]["train"]["rows"] == metrics[1.0]["train"]["rows"] / 2
    assert 0 < metrics[0.5]["train"]["hours"] < metrics[1.0]["train"]["hours"]


def test_a_run_that_ends_early_goes_on_and_a_repeated_one_trains_nothing(study: Callable[..., Any]) -> None:
    params = study.params(modes=["pretrained", "frozen"])
    small = study()
    trained: list[str] = []
    seen: list[Counts] = []

    def end_after(count: int) -> Callable[[str], None]:
        def note(name: str) -> None:
            trained.append(name)
            if len(trained) == count:
                raise KeyboardInterrupt

        return note

    with pytest.raises(KeyboardInterrupt):
        small.run(params, on_start=seen.append, on_training=end_after(3))
    assert not (small.reports / "ablation.csv").exists()
    table = small.run(params, on_start=seen.append, on_training=trained.append)
    assert [(counts.total, counts.done) for counts in seen] == [(7, 0), (7, 3)]  # 1 pretraining, 3 modes x 2 folds
    assert len(trained) == len(set(trained)) == 7
    first = (small.reports / "ablation.parquet").read_bytes()
    again = small.run(params, on_start=seen.append, on_training=trained.append)
    assert (seen[-1].total, seen[-1].done, len(trained)) == (7, 7, 7)
    assert (small.reports / "ablation.parquet").read_bytes() == first
    pd.testing.assert_frame_equal(again, table)


def test_a_larger_grid_costs_what_is_new_and_workers_change_nothing(study: Callable[..., Any]) -> None:
    small = study()
    small.run(study.params())
    larger = study.params(label_fractions=[0.5, 1.0])
    counts = small.study(larger).counts()
    assert (counts.pretrainings, counts.pretrained) == (1, 1)
    assert (counts.units, counts.finetuned) == (8, 4)
    changed = study.params(recipes={"paper": {"pretrain.lr": 0.02}})
    counts = small.study(changed).counts()
    assert (counts.pretrained, counts.finetuned) == (0, 2)  # another parent; scratch stays


@pytest.mark.slow
def test_workers_change_no_number(study: Callable[..., Any], tmp_path: Path) -> None:
    params = study.params(tasks=[[1], [1, 2, 3]])
    one, two = study(), study()
    two.cache, two.reports = tmp_path / "cache2", tmp_path / "reports2"
    one.run(params)
    two.run(params, workers=2)
    for name in ("ablation.parquet", "ablation.csv", "ablation.md", "ablation_runs.parquet"):
        assert (one.reports / name).read_bytes() == (two.reports / name).read_bytes()


def test_the_table_is_what_the_runs_say(study: Callable[..., Any]) -> None:
    params = study.params(tasks=[[1], [1, 2, 3]], finetune={"seeds": [0, 1, 2]}, label_fractions=[0.5, 1.0])
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
    assert list(over["label_fractions"]) == ["50+100 %"] * 2
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
    study().run(study.params())
    assert not len(pd.read_csv(study.reports / "ablation_overall.csv"))
    assert "Over all shares of the labels" not in (study.reports / "ablation.md").read_text()


def test_scratch_is_trained_once_unless_a_recipe_changes_its_network(study: Callable[..., Any]) -> None:
    recipes = {"conv": {"finetune.transfer": "conv"}, "quick": {"finetune": {"epochs": 1}}}
    table = study().run(study.params(recipes=recipes, tasks=[[1], [1, 2, 3]]))
    scratch = table[table["mode"] == "scratch"]
    assert list(scratch["recipe"]) == ["paper, conv", "quick"]
    runs = pd.read_parquet(study.reports / "ablation_runs.parquet")
    assert (runs["mode"] == "scratch").sum() == 2 * 2
    assert runs[(runs["mode"] == "scratch") & (runs["recipe"] == "quick")]["epochs"].max() == 1


def test_several_pretraining_seeds_are_taken_in_turn(study: Callable[..., Any]) -> None:
    table = study().run(study.params(finetune={"seeds": [0, 1, 2]}, pretrain_seeds=[0, 4]))
    runs = pd.read_parquet(study.reports / "ablation_runs.parquet").query("mode == 'pretrained'")
    assert dict(zip(runs["seed"], runs["pretrain_seed"], strict=True)) == {0: 0, 1: 4, 2: 0}
    assert table[table["mode"] == "pretrained"]["pairs"].tolist() == [6]


def test_generated_speech_is_named_whichever_side_it_is_on(
    study: Callable[..., Any], make_shards: Make, tmp_path: Path
) -> None:
    small = study()
    small.unlabelled = make_shards("films", unlabelled_rows("synthetic-films"))
    table = small.run(study.params())
    assert dict(zip(table["mode"], table["synthetic"], strict=True)) == {"scratch": False, "pretrained": True}
    assert "SYNTHETIC in part: synthetic-films" in (study.reports / "ablation.md").read_text()


def test_what_would_be_refused_late_is_refused_before_training(study: Callable[..., Any], make_shards: Make) -> None:
    small = study()
    with pytest.raises(InputError, match=r"verdict would have 2 pairs \(2 folds x 1 seeds\).*asks for 24"):
        small.run(study.params(verdict={"run": True, "min_pairs": 24}))
    small.labelled = make_shards("heard", labelled_rows("talk", speakers=("u", "q", "r", "s")))
    with pytest.raises(InputError, match=r"test speaker\(s\) talk/u were heard in pretraining"):
        small.run(study.params())
    assert not (small.cache / "pretrained").exists()
    assert not (small.cache / "units").exists()


def test_a_pretraining_that_fails_is_named(study: Callable[..., Any], make_shards: Make) -> None:
    small = study()
    rows = unlabelled_rows()
    for row in rows:
        row["t3_label"] = "neutral"
    small.unlabelled = make_shards("neutral", rows)
    with pytest.raises(InputError, match=r"pretraining paper, tasks 1\+2\+3, 100 % of the speech, seed 0: task 3"):
        small.run(study.params())


def test_holm_multiplies_by_the_hypotheses_that_are_left() -> None:
    """Holm (1979) by hand: .01 x 4, .02 x 3, .03 x 2, then .02 x 3 again since no value may fall."""
    np.testing.assert_allclose(holm([0.02, 0.01, 0.5, 0.03]), [0.06, 0.04, 0.5, 0.06])
    np.testing.assert_allclose(holm([np.nan, 0.9, 0.8]), [np.nan, 1.0, 1.0])
    assert holm([]).shape == (0,)


def test_the_interval_is_the_t_tests() -> None:
    values = np.array([0.1, -0.02, 0.07, 0.05])
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    found = mean_interval(float(values.mean()), float(values.std(ddof=1)), 4, confidence=0.9)
    assert found == pytest.approx((expected.low, expected.high))
    assert mean_interval(0.1, 0.0, 1, confidence=0.9) is None


def test_the_command_counts_runs_and_shows(study: Callable[..., Any], tmp_path: Path) -> None:
    small = study()
    (tmp_path / "params.yaml").write_text(json.dumps(study.params().model_dump(mode="json")))
    options = ["--params", tmp_path / "params.yaml", "--cache", small.cache, "--reports", small.reports]
    options += ["--shards", small.labelled, "--unlabelled", small.unlabelled, "--workers", 1]

    def call(*more: str) -> Any:
        return CliRunner().invoke(app, ["ablation", *map(str, options), *more])

    assert call("--show").exit_code == 1
    assert "1 pretrainings (0 done), 4 fine-tunings (0 done); 5 trainings to do" in call("--count").output
    ran = call()
    assert ran.exit_code == 0, ran.output
    assert "5 trainings to do" in ran.output
    assert "0 trainings to do" in call("--count").output
    assert "paper" in call("--show").output
