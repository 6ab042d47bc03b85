"""Model folders that are damaged, or made to do harm: a message that names the folder, and no memory taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer.conftest import TRACKS, dense_rows, flip, rated_rows, unlabelled_rows
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.models.checkpoint import load_model
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain

Make = Callable[..., Path]
Tiny = Callable[..., Params]


def test_damaged_model_folders_are_named(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    model = tmp_path / "model"
    pretrain(make_shards("u", unlabelled_rows()), model, tiny(pretrain={"epochs": 1}), cache=tmp_path / "cache")
    load_model(model)
    flip(model / "model.safetensors", at=-1)  # a weight that is a little off would be another network
    with pytest.raises(InputError, match=r"damaged model folder \(model\.safetensors not as written"):
        load_model(model)
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="damaged model folder"):
        load_model(model)
    (model / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        load_model(model)


def test_a_model_of_before_the_plain_rnn_had_its_name_still_answers(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    params = tiny(encoder={"aggregator": "lstm_attention"}, pretrain={"epochs": 1})
    pretrain(make_shards("u", unlabelled_rows()), tmp_path / "new", params, cache=tmp_path / "cache")
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    config["format"], config["architecture"]["aggregator"] = 1, "rnn_attention"
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    (tmp_path / "old" / "SHA256SUMS").unlink()
    new, old = load_model(tmp_path / "new"), load_model(tmp_path / "old")
    assert old.spec.encoder.aggregator == "lstm_attention"
    for name, weights in new.network.state_dict().items():
        assert torch.equal(weights, old.network.state_dict()[name])
    config["format"] = 3
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="model format 3, this trainer reads 1 and 2"):
        load_model(tmp_path / "old")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of pretraining and one of an attribute, without their seals."""
    from tests.trainer.conftest import make_shards, tiny

    home = tmp_path_factory.mktemp("models")
    make, params = make_shards.__wrapped__(home), tiny.__wrapped__()
    options = {"epochs": 1, "tasks": [1], "dense": ["aus"]}
    pretrain(make("u", dense_rows(), dense=TRACKS), home / "pretrain", params(pretrain=options), cache=home / "c")
    target = {"modes": ["scratch"], "epochs": 1, "folds": 2, "objective": "attribute", "target": "arousal"}
    finetune(make("l", rated_rows()), "none", home / "f", home / "r", params(finetune=target), cache=home / "c")
    found = {"pretrain": home / "pretrain", "attribute": home / "f" / "toy" / "scratch"}
    for folder in found.values():
        (folder / "SHA256SUMS").unlink()
        load_model(folder)
    return found


def put(raw: dict[str, Any], where: str, value: Any) -> None:
    """Set a value by the dotted names of its place."""
    *inner, last = where.split(".")
    for name in inner:
        raw = raw[name]
    raw[last] = value


CHANGES: list[tuple[str, Any]] = [
    ("architecture.hidden", 10**9),
    ("architecture.widths", [10**9]),
    ("architecture.widths", []),
    ("architecture.chunk_encoder", "transformer"),
    ("architecture.aggregator", "../../x"),
    ("architecture.unknown", 1),
    ("architecture", None),
    ("architecture", [1]),
    ("head_hidden", 10**12),
    ("head_hidden", -1),
    ("head_hidden", "many"),
    ("labels", []),
    ("labels.energy_variation", "highlow"),
    ("labels.energy_variation", ["a", "a"]),
    ("labels.energy_variation", [str(number) for number in range(10**5)]),
    ("labels.energy_variation", []),
    ("labels.new.x", ["a"]),
    ("objectives.energy_variation", {"kind": "unknown"}),
    ("objectives.energy_variation", {"kind": ["hard"]}),
    ("objectives.energy_variation", {"kind": "hard", "more": 1}),
    ("objectives.energy_variation", "hard"),
    ("feature_names", "f0"),
    ("feature_names", []),
    ("feature_names", [1, 2, 3, 4, 5, 6]),
    ("frame_period", "fast"),
    ("frame_period", 0),
    ("frame_period", float("nan")),
    ("chunking", {"frames": 10**9, "count": 10**9}),
    ("chunking", {"frames": 0, "count": 1}),
    ("chunking", 3),
    ("normalisation.mean", [0.0]),
    ("normalisation.std", [0.0] * 6),
    ("normalisation.std", None),
    ("normalisation.scope", "nobody"),
    ("normalisation.clip", float("inf")),
    ("frame_targets.step", 0),
    ("frame_targets.tracks.mean", [0.0] * 9),
    ("frame_targets.tracks", {"names": ["x"] * 10**5}),
    ("speakers", "talk/u"),
    ("speakers", None),
    ("corpora", [1]),
    ("tasks", ["1"]),
    ("data", {}),
    ("params", []),
    ("kind", ["pretrain"]),
    ("format", {}),
]


@pytest.mark.parametrize(("where", "value"), CHANGES, ids=lambda value: str(value)[:40])
def test_a_hostile_config_is_named(models: dict[str, Path], tmp_path: Path, where: str, value: Any) -> None:
    model = shutil.copytree(models["pretrain"], tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    if where == "labels.new.x":
        config["labels"]["new.x"] = value
    else:
        put(config, where, value)
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="model"):
        load_model(model)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"3", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}', b"{}"])
def test_a_config_that_is_none_is_named(models: dict[str, Path], tmp_path: Path, content: bytes) -> None:
    model = shutil.copytree(models["pretrain"], tmp_path / "model")
    (model / "config.json").write_bytes(content)
    with pytest.raises(InputError, match="damaged model folder"):
        load_model(model)


@pytest.mark.parametrize("value", [["x"], [1.0, 2.0], [float("inf")], "x", [0.0]], ids=str)
def test_a_hostile_scale_of_an_attribute_is_named(models: dict[str, Path], tmp_path: Path, value: Any) -> None:
    model = shutil.copytree(models["attribute"], tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config["objectives"]["arousal"]["std"] = value
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="damaged model folder"):
        load_model(model)


@pytest.mark.parametrize("harm", ["shape", "type", "number", "fewer", "more", "header", "text"])
def test_hostile_weights_are_named(models: dict[str, Path], tmp_path: Path, harm: str) -> None:
    model = shutil.copytree(models["pretrain"], tmp_path / "model")
    path = model / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("weight"))
    if harm == "shape":
        weights[name] = torch.zeros(3)
    elif harm == "type":
        weights[name] = weights[name].double()
    elif harm == "number":
        weights[name] = weights[name] * np.nan
    elif harm == "fewer":
        del weights[name]
    elif harm == "more":
        weights["more"] = torch.zeros(1)
    save_file(weights, path)
    if harm == "header":
        path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])
    elif harm == "text":
        path.write_text("weights")
    with pytest.raises(InputError, match="damaged model folder"):
        load_model(model)
