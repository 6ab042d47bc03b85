"""Pretraining end to end: pseudo-labels of segments, tracks, hidden spans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.trainer.conftest import TRACKS, dense_rows, digest, unlabelled_rows
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE
from trainer.errors import InputError, Notice
from trainer.models.checkpoint import load_model
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain

Make = Callable[..., Path]
Tiny = Callable[..., Params]


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
    assert {"model.safetensors", "config.json", "metrics.json", "history.csv", "SHA256SUMS"} == set(
        digest(tmp_path / "model")
    )


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


def test_normalised_by_itself_a_film_may_have_any_gain(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = tiny(pretrain={"tasks": [1, 2], "epochs": 1, "normalisation": "utterance"})
    rows = unlabelled_rows()
    found = []
    for name in ("plain", "louder"):
        pretrain(make_shards(name, rows), tmp_path / name, params, cache=tmp_path / "cache")
        model = load_model(tmp_path / name)
        assert model.spec.normalisation.scope == "utterance"
        found.append(torch.cat([weights.flatten() for weights in model.network.parameters()]))
        for row in rows:  # powers of two, which half floats round alike
            row["features"] = [value * 2.0 ** (1 + len(row["segment_id"]) % 3) for value in row["features"]]
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=0)


def test_training_learns_where_gradients_were_switched_off(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    """Importing py-feat once left the process without gradients, and training failed."""
    with torch.no_grad():
        pretrain(
            make_shards("u", unlabelled_rows()), tmp_path / "p", tiny(pretrain={"epochs": 1}), cache=tmp_path / "c"
        )
    assert (tmp_path / "p" / "model.safetensors").is_file()


@pytest.mark.parametrize("chunk_encoder", ["cnn", "lstm"])
@pytest.mark.parametrize("dense_loss", ["smooth_l1", "ccc"])
def test_a_planted_relation_is_learnt_on_new_speakers(
    make_shards: Make, tiny: Tiny, tmp_path: Path, chunk_encoder: str, dense_loss: str
) -> None:
    folder = make_shards("unlabelled", dense_rows(per_speaker=24), dense=TRACKS)
    params = tiny(
        encoder={"chunk_encoder": chunk_encoder, "lstm_layers": 1},
        pretrain={"tasks": [], "dense": ["energy", "aus"], "dense_loss": dense_loss, "epochs": 12},
    )
    metrics = pretrain(folder, tmp_path / "model", params, cache=tmp_path / "cache")
    assert metrics["dense"]["AU12"] > 0.5
    assert metrics["dense"]["energy"] > 0.3
    assert metrics["tasks"] == {}
    assert metrics["encoder"]["frame_effective_rank"] > 1
    history = pd.read_csv(tmp_path / "model" / "history.csv")
    assert history["dev_dense_r"].iloc[-1] > history["dev_dense_r"].iloc[0]
    back = load_model(tmp_path / "model")
    assert back.config["dense"] == ["energy", "aus"]
    assert back.spec.frames is not None
    assert back.spec.frames.to_json() == json.loads((tmp_path / "model" / "config.json").read_text())["frame_targets"]
    assert back.network.frame_heads[DENSE][-1].out_features == 2


def test_all_kinds_of_targets_train_together_bit_for_bit(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    folder = make_shards("unlabelled", dense_rows(), dense=TRACKS)
    options = {"dense": ["aus"], "reconstruct": 0.5, "variance": 0.1, "epochs": 2}
    for name in ("one", "two"):
        metrics = pretrain(folder, tmp_path / name, tiny(pretrain=options), cache=tmp_path / "cache")
    assert len(metrics["tasks"]) == 3
    assert set(metrics["dense"]) == {"AU12"}
    assert -1 <= metrics["reconstruction"] <= 1
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_shards_without_the_column_still_train_and_say_what_they_lack(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    folder = make_shards("old", unlabelled_rows())
    assert open_shards(folder, cache=tmp_path / "c").dense.shape[1] == 0
    pretrain(folder, tmp_path / "m", tiny(pretrain={"epochs": 1}), cache=tmp_path / "c")
    assert "frame_targets" not in json.loads((tmp_path / "m" / "config.json").read_text())
    pretrain(
        folder, tmp_path / "r", tiny(pretrain={"epochs": 1, "tasks": [], "reconstruct": 1.0}), cache=tmp_path / "c"
    )
    with pytest.raises(InputError, match=r"no dense targets of group\(s\) aus .*shards\.dense\.groups"):
        pretrain(folder, tmp_path / "n", tiny(pretrain={"dense": ["aus"]}), cache=tmp_path / "c")


def test_nothing_to_learn_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="unless dense, reconstruct or matching"):
        tiny(pretrain={"tasks": []})


DENSE_ALONE = {"tasks": [], "dense": ["energy", "aus"], "monitor": "last", "epochs": 1}


def test_a_single_speaker_is_measured_on_clips_of_their_own(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows = dense_rows(speakers=("u",))
    params, cache = tiny(pretrain=DENSE_ALONE), tmp_path / "cache"
    metrics = pretrain(make_shards("clips", rows, dense=TRACKS), tmp_path / "m", params, cache=cache)
    assert metrics["held_out"] == {"part": "dev", "rows": 1, "speakers": 1, "unit": "clips"}
    assert metrics["train"]["rows"] == len(rows) - 1
    one_clip = [{**row, "clip_id": "film"} for row in rows]
    metrics = pretrain(make_shards("segments", one_clip, dense=TRACKS), tmp_path / "m", params, cache=cache)
    assert metrics["held_out"] == {"part": "dev", "rows": 1, "speakers": 1, "unit": "segments"}
    with pytest.raises(InputError, match="one training segment alone"):
        pretrain(make_shards("one", rows[1:2], dense=TRACKS), tmp_path / "m", params, cache=cache)
    early = tiny(pretrain={**DENSE_ALONE, "monitor": "score"})
    with pytest.raises(InputError, match="early stopping needs a held-out speaker"):
        pretrain(make_shards("clips", rows, dense=TRACKS), tmp_path / "m", early, cache=cache)


def test_tracks_without_any_target_are_refused_or_named(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows = dense_rows()
    tracks = {"names": ["energy", "AU12", "AU01"], "groups": {"energy": ["energy"], "aus": ["AU12", "AU01"]}}
    for row in rows:
        values = [] if row["dense"] is None else row["dense"]
        wider = [[values[at], values[at + 1], float("nan")] for at in range(0, len(values), 2)]
        row["dense"] = [value for frame in wider for value in frame] or None
    params = tiny(pretrain=DENSE_ALONE)
    with pytest.warns(Notice, match="AU01: left out"):
        metrics = pretrain(make_shards("some", rows, dense=tracks), tmp_path / "m", params, cache=tmp_path / "c")
    assert set(metrics["dense"]) == {"energy", "AU12"}
    for row in rows:
        row["dense"] = [float("nan") if at % 3 else value for at, value in enumerate(row["dense"] or [])] or None
    with pytest.raises(InputError, match=r"no training segment has a target of group\(s\) aus"):
        pretrain(make_shards("none", rows, dense=tracks), tmp_path / "m", params, cache=tmp_path / "c")
