"""Pretraining and fine-tuning end to end on generated shards."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.models.checkpoint import load_model
from trainer.params import Params
from trainer.predict import predict
from trainer.pretraining.pretrain import pretrain

Make = Callable[..., Path]
Tiny = Callable[..., Params]


def _digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def run(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Pretrain (if any mode needs it) and fine-tune into tmp_path/<where>."""

    def go(
        where: str, *, rows: list[dict[str, Any]] | None = None, workers: int = 1, **finetuning: Any
    ) -> pd.DataFrame:
        params = tiny(finetune=finetuning)
        home, cache = tmp_path / where, tmp_path / where / "cache"
        labelled = make_shards("labelled", rows if rows is not None else labelled_rows())
        if set(params.finetune.modes) != {"scratch"} and not (home / "pretrain").exists():
            pretrain(make_shards("unlabelled", unlabelled_rows()), home / "pretrain", params, cache=cache)
        return finetune(
            labelled, home / "pretrain", home / "models", home / "reports", params, cache=cache, workers=workers
        )

    return go


def test_pretraining_learns_every_task_and_says_how_it_was_measured(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    folder = make_shards("unlabelled", unlabelled_rows(per_speaker=30))
    metrics = pretrain(folder, tmp_path / "model", tiny(pretrain={"epochs": 25}), cache=tmp_path / "cache")
    assert list(metrics["tasks"]) == ["energy_variation", "facial_activation", "au_emotion"]
    for values in metrics["tasks"].values():
        assert values["chance"] == 0.5
        assert values["uar"] > 0.7
        assert values["train_labels"]["none"] > 0
    assert metrics["held_out"]["part"] == "dev"
    assert metrics["encoder"]["effective_rank"] > 1
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["labels"]["facial_activation"] == ["high", "low"]
    assert config["shards_metadata"]["config"] == {"note": "generated"}
    assert {"model.safetensors", "config.json", "metrics.json", "history.csv"} == set(_digest(tmp_path / "model"))


@pytest.mark.parametrize("tasks", [[1], [2, 3]])
def test_any_subset_of_tasks(make_shards: Make, tiny: Tiny, tmp_path: Path, tasks: list[int]) -> None:
    params = tiny(pretrain={"tasks": tasks, "epochs": 1})
    metrics = pretrain(make_shards("u", unlabelled_rows()), tmp_path / "model", params, cache=tmp_path / "cache")
    assert len(metrics["tasks"]) == len(tasks)
    assert load_model(tmp_path / "model").config["tasks"] == tasks


def test_a_task_without_two_classes_is_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows = unlabelled_rows()
    for row in rows:
        row["t3_label"] = "neutral"
    folder = make_shards("unlabelled", rows)
    with pytest.raises(InputError, match=r"task 3 \(au_emotion\).*1 class"):
        pretrain(folder, tmp_path / "model", tiny(), cache=tmp_path / "cache")
    pretrain(folder, tmp_path / "model", tiny(pretrain={"tasks": [1, 2], "epochs": 1}), cache=tmp_path / "cache")


def test_given_test_speakers_measure_pretraining(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows = unlabelled_rows()
    for row in rows:
        row["split"] = {"u": "train", "v": "train", "w": "dev", "x": "test"}[row["speaker"]]
    params = tiny(pretrain={"epochs": 1})
    metrics = pretrain(make_shards("one", rows), tmp_path / "model", params, cache=tmp_path / "cache")
    assert metrics["held_out"] == {"part": "test", "rows": 12, "speakers": 1}
    assert load_model(tmp_path / "model").config["speakers"] == ["talk/u", "talk/v", "talk/w"]
    rows[0]["split"] = "test"
    with pytest.raises(InputError, match="speaker leak: talk/u in both train and test"):
        pretrain(make_shards("two", rows), tmp_path / "model", params, cache=tmp_path / "cache")


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
    one, two = _digest(tmp_path / "one"), _digest(tmp_path / "two")
    assert any(name.endswith("model.safetensors") for name in one)
    assert one == two


def test_a_finished_run_is_not_computed_again(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    first = run("home", modes=["scratch"])
    units = tmp_path / "home" / "cache" / "units"
    stamps = {path.name: path.stat().st_mtime_ns for path in units.iterdir()}
    again = run("home", modes=["scratch"])
    pd.testing.assert_frame_equal(first, again)
    assert {path.name: path.stat().st_mtime_ns for path in units.iterdir()} == stamps
    run("home", modes=["scratch"], seeds=[0, 1])  # one more seed: three more folds, the others stay
    assert len(list(units.iterdir())) == 6
    run("home", modes=["scratch"], lr=0.02)  # another number: nothing old is used
    assert len(list(units.iterdir())) == 9


def test_an_interrupted_run_resumes(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = tiny(finetune={"modes": ["scratch"], "folds": 4})
    labelled, units = make_shards("labelled", labelled_rows()), tmp_path / "cache" / "units"
    places = (tmp_path / "none", tmp_path / "models", tmp_path / "reports")

    def interrupt(name: str) -> None:
        if "fold 2" in name:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(labelled, *places, params, cache=tmp_path / "cache", on_run=interrupt)
    assert len(list(units.iterdir())) == 2
    assert not places[2].exists()
    started: list[int] = []
    finetune(labelled, *places, params, cache=tmp_path / "cache", on_start=lambda *counts: started.extend(counts))
    assert started == [4, 2]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes_whatever_the_workers(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    params = tiny(finetune={"modes": ["scratch"], "folds": 6})
    labelled = make_shards("labelled", labelled_rows())

    def go(home: Path, workers: int) -> None:
        finetune(
            labelled, home / "none", home / "models", home / "reports", params, cache=home / "cache", workers=workers
        )

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    go(undisturbed, workers=1)
    code = (
        "import sys; from trainer.finetuning.finetune import finetune; from trainer.params import Params; h = sys.argv[1];"
        "finetune(sys.argv[2], 'none', h + '/models', h + '/reports', Params.model_validate_json(sys.argv[3]),"
        "cache=h + '/cache', workers=2)"
    )
    arguments = [sys.executable, "-c", code, str(killed), str(labelled), params.model_dump_json()]
    process = subprocess.Popen(arguments, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list((killed / "cache" / "units").glob("[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 1 <= len(list((killed / "cache" / "units").glob("[!.]*"))) < 6
    assert not (killed / "reports").exists()
    go(killed, workers=2)
    for part in ("models", "reports"):
        assert _digest(killed / part) == _digest(undisturbed / part)


def test_a_killed_worker_is_an_error_and_not_a_hang(run: Callable[..., pd.DataFrame]) -> None:
    def kill_first_child() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill_first_child, daemon=True)
    killer.start()
    with pytest.raises(InputError, match="a worker process died"):
        run("home", modes=["scratch"], folds=6, workers=2)
    killer.join()


def test_pretraining_speakers_in_a_test_fold_are_refused(run: Callable[..., pd.DataFrame]) -> None:
    rows = labelled_rows("talk", speakers=("u", "q", "r", "s"))
    with pytest.raises(InputError, match=r"test speaker\(s\) talk/u were heard in pretraining"):
        run("home", rows=rows, folds=2)
    runs = run("home", rows=rows, folds=2, allow_pretrain_speakers=True)
    assert runs["allow_pretrain_speakers"].all()
    heard = runs.groupby("mode")["pretrain_speakers_in_test"].sum()
    assert heard.to_dict() == {"pretrained": 1, "scratch": 0}
    run("scratch_only", rows=rows, folds=2, modes=["scratch"])  # nobody was heard before


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


def test_label_fraction_takes_training_rows_only(run: Callable[..., pd.DataFrame]) -> None:
    full = run("full", modes=["scratch"])
    half = run("half", modes=["scratch"], label_fraction=0.5)
    assert (half["n_train"] == full["n_train"] / 2).all()
    assert half["n_dev"].tolist() == full["n_dev"].tolist()


def test_corpora_keep_their_own_labels(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    rows = labelled_rows("one") + labelled_rows("two", emotions=("calm", "fear"))
    rows[0]["emotion"] = None  # an unlabelled row among them
    runs = run("home", rows=rows, modes=["scratch"])
    assert runs.groupby("corpus")["n_classes"].first().to_dict() == {"one": 3, "two": 2}
    table = pd.read_parquet(tmp_path / "home" / "reports" / "predictions.parquet")
    assert table[table["corpus"] == "one"]["p_calm"].isna().all()
    assert rows[0]["segment_id"] not in set(table["segment_id"])


def test_another_encoder_than_the_pretrained_one_is_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    pretrain(make_shards("u", unlabelled_rows()), tmp_path / "p", tiny(pretrain={"epochs": 1}), cache=tmp_path / "c")
    labelled, places = make_shards("l", labelled_rows()), (tmp_path / "p", tmp_path / "m", tmp_path / "r")
    with pytest.raises(InputError, match="chunk_encoder, aggregator differ"):
        finetune(labelled, *places, tiny(encoder={"chunk_encoder": "lstm", "aggregator": "mean"}), cache=tmp_path / "c")
    other = make_shards("other", labelled_rows(), frame_period=0.01)
    with pytest.raises(InputError, match=r"frame period 0.01 s, the model knows 0.05 s"):
        finetune(other, *places, tiny(), cache=tmp_path / "c")
    with pytest.raises(InputError, match="nowhere is no model folder"):
        finetune(labelled, tmp_path / "nowhere", *places[1:], tiny(), cache=tmp_path / "c")


@pytest.mark.parametrize("chunk_encoder", ["cnn", "lstm"])
def test_a_model_folder_predicts_what_the_network_predicted(
    run: Callable[..., pd.DataFrame], tiny: Tiny, make_shards: Make, tmp_path: Path, chunk_encoder: str
) -> None:
    params = tiny(encoder={"chunk_encoder": chunk_encoder}, finetune={"modes": ["scratch"], "epochs": 2, "folds": 2})
    home, cache = tmp_path / "home", tmp_path / "cache"
    labelled = make_shards("labelled", labelled_rows())
    finetune(labelled, home / "none", home / "models", home / "reports", params, cache=cache)
    table = predict(labelled, home / "models" / "toy" / "scratch", home / "told.csv", cache=cache)
    assert len(pd.read_csv(home / "told.csv")) == len(table)
    entry = json.loads((home / "models" / "index.json").read_text())[0]
    known = pd.read_parquet(home / "reports" / "predictions.parquet").query(f"fold == '{entry['fold']}'")
    both = known.merge(table, on="segment_id", suffixes=("", "_loaded"))
    assert (both["predicted"] == both["emotion"]).all()
    np.testing.assert_allclose(both["confidence"], both["emotion_confidence"], atol=1e-6)


def test_damaged_model_folders_are_named(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    model = tmp_path / "model"
    pretrain(make_shards("u", unlabelled_rows()), model, tiny(pretrain={"epochs": 1}), cache=tmp_path / "cache")
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="damaged model folder"):
        load_model(model)
    (model / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        load_model(model)


def test_training_learns_where_gradients_were_switched_off(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    """Importing py-feat once left the process without gradients, and training failed."""
    with torch.no_grad():
        pretrain(
            make_shards("u", unlabelled_rows()), tmp_path / "p", tiny(pretrain={"epochs": 1}), cache=tmp_path / "c"
        )
    assert (tmp_path / "p" / "model.safetensors").is_file()
