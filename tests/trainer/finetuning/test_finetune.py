"""Fine-tuning end to end: what it learns, what it starts from, what it never sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.trainer.conftest import TRACKS, dense_rows, digest, labelled_rows, rated_rows
from trainer.finetuning.finetune import finetune
from trainer.models.checkpoint import load_model
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain
from trainer.report.report import report

Make = Callable[..., Path]
Tiny = Callable[..., Params]


def test_finetuning_beats_chance_on_the_same_folds_and_seeds(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    modes = ["scratch", "pretrained", "frozen"]
    runs = run("home", modes=modes, seeds=[0, 1], keep="best")
    assert len(runs) == 3 * 3 * 2
    assert runs.groupby(["fold", "seed"])[["n_train", "n_dev", "n_test"]].nunique().eq(1).all(axis=None)
    assert runs.groupby("mode")["uar"].mean()["scratch"] > 0.5
    assert set(runs["label_source"]) == {"acted"}
    predictions = pd.read_parquet(tmp_path / "home" / "reports" / "predictions.parquet")
    assert len(predictions) == 3 * 2 * len(labelled_rows())  # everyone is tested once per mode and seed
    index = json.loads((tmp_path / "home" / "models" / "index.json").read_text())
    assert [entry["folder"] for entry in index] == ["toy/frozen", "toy/pretrained", "toy/scratch"]

    # frozen: the encoder is the parent's to the last bit; scratch: it is not
    parent = load_model(tmp_path / "home" / "pretrain").network.encoder.state_dict()
    frozen = load_model(tmp_path / "home" / "models" / "toy/frozen").network.encoder.state_dict()
    pretrained = load_model(tmp_path / "home" / "models" / "toy/pretrained").network.encoder.state_dict()
    assert all(torch.equal(parent[name], frozen[name]) for name in parent)
    assert not all(torch.equal(parent[name], pretrained[name]) for name in parent)


def test_two_runs_are_bit_identical(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    for where in ("one", "two"):
        run(where, keep="all", seeds=[3], folds=2)
    one, two = digest(tmp_path / "one"), digest(tmp_path / "two")
    assert any(name.endswith("model.safetensors") for name in one)
    assert one == two


def test_no_test_row_reaches_normalisation(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    rows = labelled_rows(speakers=("a", "b", "c", "d"))
    for row in rows:
        row["fold"] = "2" if row["speaker"] in "cd" else "1"
    options = {"modes": ["scratch"], "folds": "auto", "keep": "all"}
    run("before", rows=rows, **options)
    for row in rows:
        if row["speaker"] in "cd":
            row["features"] = (np.array(row["features"]) * 9 - 5).tolist()
    run("after", rows=rows, **options)
    trained_on_ab = "models/toy/scratch/fold_2_seed0/model.safetensors"
    assert (tmp_path / "before" / trained_on_ab).read_bytes() == (tmp_path / "after" / trained_on_ab).read_bytes()


def test_transfer_and_normalisation_options(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    options = {"modes": ["frozen"], "folds": 2, "normalisation": "parent", "transfer": "chunk"}
    runs = run("home", **options)
    assert set(runs["normalisation"]) == {"parent"}
    parent = load_model(tmp_path / "home" / "pretrain")
    child = load_model(tmp_path / "home" / "models" / "toy" / "frozen")
    assert child.spec.normalisation.mean.tolist() == parent.spec.normalisation.mean.tolist()
    own, handed = child.network.encoder.state_dict(), parent.network.encoder.state_dict()
    assert all(torch.equal(own[name], handed[name]) for name in own if name.startswith("chunk_encoder"))
    assert not torch.equal(own["aggregator.gate.weight"], handed["aggregator.gate.weight"])


@pytest.mark.parametrize("part", ["all", "chunk", "conv"])
def test_only_the_named_part_is_carried_over(make_shards: Make, tiny: Tiny, tmp_path: Path, part: str) -> None:
    home = tmp_path / "home"
    params = tiny(
        pretrain={"dense": ["aus"], "epochs": 1},
        finetune={"modes": ["frozen"], "folds": 2, "transfer": part, "epochs": 2},
    )
    pretrain(make_shards("u", dense_rows(), dense=TRACKS), home / "pretrain", params, cache=home / "cache")
    places = (home / "pretrain", home / "models", home / "reports")
    finetune(make_shards("l", labelled_rows()), *places, params, cache=home / "cache")
    child = load_model(home / "models" / "toy" / "frozen").network
    own, handed = child.encoder.state_dict(), load_model(places[0]).network.encoder.state_dict()
    assert not child.frame_heads
    same = {name for name in own if torch.equal(own[name], handed[name])}
    assert "chunk_encoder.convs.0.weight" in same
    assert ("chunk_encoder.out.weight" in same) == (part != "conv")
    assert ("aggregator.gate.weight" in same) == (part == "all")
    assert "chunk_encoder.norms.0.running_mean" in same  # frozen: what was carried over stays to the last bit


@pytest.mark.parametrize("aggregator", ["rnn_attention", "lstm_attention", "self_attention"])
def test_an_encoder_pretrained_on_tracks_goes_to_any_objective(
    make_shards: Make, tiny: Tiny, tmp_path: Path, aggregator: str
) -> None:
    params = tiny(
        encoder={"aggregator": aggregator},
        pretrain={"dense": ["aus"], "epochs": 3},
        finetune={"modes": ["pretrained", "frozen"], "folds": 2, "transfer": "conv", "epochs": 2,
                  "objective": "soft", "target": "votes", "normalisation": "speaker"},
    )  # fmt: skip
    home = tmp_path / "home"
    pretrain(make_shards("u", dense_rows(), dense=TRACKS), home / "pretrain", params, cache=home / "cache")
    history = pd.read_csv(home / "pretrain" / "history.csv")
    parts = [name for name in history if name.startswith("dev_") and name not in ("dev_loss", "dev_score")]
    assert len(parts) == 4  # three tasks and the tracks weigh alike
    np.testing.assert_allclose(history["dev_score"], history[parts].mean(axis=1))
    places = (home / "pretrain", home / "models", home / "reports")
    runs = finetune(make_shards("l", rated_rows()), *places, params, cache=home / "cache")
    assert set(runs["pretrain_tasks"]) == {"1+2+3+aus"}
    assert set(runs["transfer"]) == {"conv"}
    assert runs["macro_f1"].notna().all()


def test_the_report_names_the_pretext_tasks(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = tiny(
        pretrain={"tasks": [], "dense": ["energy", "aus"], "reconstruct": 0.5, "monitor": "last", "epochs": 3},
        finetune={"modes": ["scratch", "pretrained"], "folds": 2, "transfer": "conv", "epochs": 2},
    )
    places = (tmp_path / "pretrain", tmp_path / "models", tmp_path / "reports")
    pretrain(make_shards("u", dense_rows(), dense=TRACKS), places[0], params, cache=tmp_path / "cache")
    assert json.loads((places[0] / "metrics.json").read_text())["best_epoch"] == 3
    runs = finetune(make_shards("l", labelled_rows()), *places, params, cache=tmp_path / "cache")
    assert set(runs["pretrain_tasks"].dropna()) == {"energy+aus+masked"}
    report(places[2], places[0], params.report)
    summary = json.loads((places[2] / "details.json").read_text())["pretrain"]
    assert set(summary["dense_r"]) == {"energy", "AU12"}
    page = (places[2] / "index.html").read_text()
    assert "AU12" in page
    assert "chose the epoch" not in page  # all epochs were trained


def test_a_budget_of_steps_is_the_same_for_every_share_of_the_labels(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    """A tenth of the labels had a tenth of the updates."""
    folder = make_shards("l", labelled_rows())
    updates = {}
    for share in (0.25, 1.0):
        for steps in (None, 50):
            options = {"modes": ["scratch"], "folds": 2, "label_fraction": share, "steps": steps, "dev": "none",
                       "monitor": "last", "lr_schedule": "one_cycle", "epochs": 4}  # fmt: skip
            params = tiny(finetune=options)
            where = (folder, "none", tmp_path / "m", tmp_path / "r")
            table = finetune(*where, params, cache=tmp_path / "c")
            (updates[share, steps],) = set(table["updates"])
    # 36 training rows in batches of 16 are 3 updates an epoch, 9 rows one
    assert updates == {(0.25, None): 4, (1.0, None): 12, (0.25, 50): 50, (1.0, 50): 51}
