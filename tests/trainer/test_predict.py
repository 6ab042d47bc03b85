"""Prediction with a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.trainer.conftest import labelled_rows
from trainer.finetuning.finetune import finetune
from trainer.params import Params
from trainer.predict import predict

Make = Callable[..., Path]
Tiny = Callable[..., Params]


@pytest.mark.parametrize("chunk_encoder", ["cnn", "lstm"])
def test_a_model_folder_predicts_what_the_network_predicted(
    tiny: Tiny, make_shards: Make, tmp_path: Path, chunk_encoder: str
) -> None:
    params = tiny(encoder={"chunk_encoder": chunk_encoder}, finetune={"modes": ["scratch"], "epochs": 2, "folds": 2})
    home, cache = tmp_path / "home", tmp_path / "cache"
    labelled = make_shards("labelled", labelled_rows())
    finetune(labelled, home / "none", home / "models", home / "reports", params, cache=cache)
    table = predict(labelled, home / "models" / "toy" / "scratch", home / "predicted.csv", cache=cache)
    assert len(pd.read_csv(home / "predicted.csv")) == len(table)
    entry = json.loads((home / "models" / "index.json").read_text())[0]
    known = pd.read_parquet(home / "reports" / "predictions.parquet").query(f"fold == '{entry['fold']}'")
    both = known.merge(table, on="segment_id", suffixes=("", "_loaded"))
    assert (both["predicted"] == both["emotion"]).all()
    np.testing.assert_allclose(both["confidence"], both["emotion_confidence"], atol=1e-6)
