"""Pretraining on a share of the unlabelled speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.trainer.conftest import unlabelled_rows
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain

Make = Callable[..., Path]
Tiny = Callable[..., Params]
QUICK = {"epochs": 2, "patience": 2}


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
