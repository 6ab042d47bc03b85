"""That an ablation resumes, refuses early, and that the number of workers changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.cli import app
from trainer.errors import InputError
from trainer.recipes.ablation.study import Counts

Make = Callable[..., Path]


def test_a_run_that_ends_early_goes_on_and_a_repeated_one_trains_nothing(study: Callable[..., Any]) -> None:
    params = study.settings(modes=["pretrained", "frozen"])
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
        small.run(params, on_start=seen.append, on_run=end_after(3))
    assert not (small.reports / "ablation.csv").exists()
    table = small.run(params, on_start=seen.append, on_run=trained.append)
    assert [(counts.total, counts.done) for counts in seen] == [(7, 0), (7, 3)]  # 1 pretraining, 3 modes x 2 folds
    assert len(trained) == len(set(trained)) == 7
    first = (small.reports / "ablation.parquet").read_bytes()
    again = small.run(params, on_start=seen.append, on_run=trained.append)
    assert (seen[-1].total, seen[-1].done, len(trained)) == (7, 7, 7)
    assert (small.reports / "ablation.parquet").read_bytes() == first
    pd.testing.assert_frame_equal(again, table)


def test_a_larger_grid_costs_what_is_new_and_workers_change_nothing(study: Callable[..., Any]) -> None:
    small = study()
    small.run(study.settings())
    larger = study.settings(label_fractions=[0.5, 1.0])
    counts = small.study(larger).counts()
    assert (counts.pretrainings, counts.pretrained) == (1, 1)
    assert (counts.runs, counts.finetuned) == (8, 4)
    changed = study.settings(variants={"paper": {"pretrain.lr": 0.02}})
    counts = small.study(changed).counts()
    assert (counts.pretrained, counts.finetuned) == (0, 2)  # another parent; scratch stays


@pytest.mark.slow
def test_workers_change_no_number(study: Callable[..., Any], tmp_path: Path) -> None:
    params = study.settings(tasks=[[1], [1, 2, 3]])
    one, two = study(), study()
    two.cache, two.reports = tmp_path / "cache2", tmp_path / "reports2"
    one.run(params)
    two.run(params, workers=2)
    for name in ("ablation.parquet", "ablation.csv", "ablation.md", "ablation_runs.parquet"):
        assert (one.reports / name).read_bytes() == (two.reports / name).read_bytes()


def test_what_would_be_refused_late_is_refused_before_training(study: Callable[..., Any], make_shards: Make) -> None:
    small = study()
    with pytest.raises(InputError, match=r"verdict would have 2 pairs \(2 folds x 1 seeds\).*asks for 24"):
        small.run(study.settings(verdict={"run": True, "min_pairs": 24}))
    small.labelled = make_shards("heard", labelled_rows("talk", speakers=("u", "q", "r", "s")))
    with pytest.raises(InputError, match=r"test speaker\(s\) talk/u were heard in pretraining"):
        small.run(study.settings(pretrain={"per_fold": False}))
    assert not (small.cache / "pretrained").exists()
    assert not (small.cache / "units").exists()


def test_a_pretraining_that_fails_is_named(study: Callable[..., Any], make_shards: Make) -> None:
    small = study()
    rows = unlabelled_rows()
    for row in rows:
        row["t3_label"] = "neutral"
    small.unlabelled = make_shards("neutral", rows)
    with pytest.raises(InputError, match=r"pretraining paper, tasks 1\+2\+3, 100 % of the speech, seed 0: task 3"):
        small.run(study.settings())


def test_a_variant_can_go_on_with_the_tasks_of_pretraining(study: Callable[..., Any]) -> None:
    joint = {"joint": {"finetune.auxiliary.weight": 1.0}}
    settings = study.settings(variants=joint, finetune={"seeds": [0, 1]}, unlabelled_fractions=[0.5])
    counts: list[Counts] = []
    table = study().run(settings, on_start=counts.append)
    assert counts[0].pretrainings == 1  # both start from the same parent
    assert counts[0].runs == 3 * 4  # and are compared with the same scratch
    by_variant = table[table["mode"] == "pretrained"].set_index("variant")
    assert by_variant.loc["joint", "auxiliary"] == "weight 1, share 1"
    assert by_variant.loc["joint", "macro_f1_mean"] != by_variant.loc["paper", "macro_f1_mean"]


def test_the_command_counts_runs_and_shows(study: Callable[..., Any], tmp_path: Path) -> None:
    small = study()
    for name, settings in zip(("params", "recipe"), study.settings(), strict=True):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    options = ["--params", tmp_path / "params.yaml", "--recipe", tmp_path / "recipe.yaml", "--cache", small.cache]
    options += ["--reports", small.reports, "--shards", small.labelled, "--unlabelled", small.unlabelled]

    def call(*more: str) -> Any:
        return CliRunner().invoke(app, ["ablation", *map(str, options), "--workers", "1", *more])

    assert call("--show").exit_code == 2
    assert "1 pretrainings (0 done), 4 fine-tunings (0 done); 5 trainings to do" in call("--count").output
    ran = call()
    assert ran.exit_code == 0, ran.output
    assert "5 trainings to do" in ran.output
    assert "0 trainings to do" in call("--count").output
    assert "paper" in call("--show").output
