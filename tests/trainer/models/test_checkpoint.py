"""Model folders that are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.conftest import unlabelled_rows
from trainer.errors import InputError
from trainer.models.checkpoint import load_model
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain

Make = Callable[..., Path]
Tiny = Callable[..., Params]


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
