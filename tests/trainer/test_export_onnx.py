"""The exported file says what the model says, whatever the length."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.conftest import N_FEATURES, labelled_rows
from trainer.errors import InputError
from trainer.export_onnx import export_onnx
from trainer.finetuning.finetune import finetune
from trainer.params import Params
from trainer.predictor import Predictor

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
Make, Tiny = Callable[..., Path], Callable[..., Params]


@pytest.fixture
def trained(make_shards: Make, tiny: Tiny, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that trains from scratch and gives the model folder."""

    def go(encoder: dict[str, Any] | None = None, names: list[str] | None = None, **options: Any) -> Path:
        finetuning = {"modes": ["scratch"], "folds": 2, "epochs": 3, **options}
        base = {"widths": [8], "kernel": 3, "hidden": 8, "dropout": 0.1, "max_seconds": 3.0}
        params = tiny(finetune=finetuning, encoder={**base, **(encoder or {})})
        shards = make_shards("l", labelled_rows(), **({"feature_names": names} if names else {}))
        finetune(shards, tmp_path, tmp_path / "m", tmp_path / "r", params, cache=tmp_path / "cache")
        return tmp_path / "m/toy/scratch"

    return go


@pytest.mark.slow
@pytest.mark.parametrize("chunk_encoder", ["cnn", "lstm"])
@pytest.mark.parametrize("aggregator", ["mean", "gated", "rnn_attention", "lstm_attention", "self_attention"])
def test_parity_over_random_lengths(
    trained: Callable[..., Path], tmp_path: Path, chunk_encoder: str, aggregator: str
) -> None:
    import onnxruntime

    model = trained({"chunk_encoder": chunk_encoder, "aggregator": aggregator})
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "calibration": {"temperature": 2.5}}))
    (model / "SHA256SUMS").unlink()
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "model.onnx"))
    predictor, rng = Predictor(model), np.random.default_rng(0)
    assert predictor.temperature == 2.5
    for length in [2, 5, 19, 20, 21, 22, 39, 60, 61, 200, *rng.integers(2, 400, 20)]:
        features = rng.normal(1000, 50, (int(length), N_FEATURES)).astype(np.float32)
        (found,) = session.run(None, {"features": features})
        wanted = predictor.predict([features], ["toy/a"]).filter(like="p_").to_numpy()[0]
        np.testing.assert_allclose(found, wanted, atol=1e-4, err_msg=f"{length} frames")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == list(predictor.objective.names)
    assert json.loads(about["feature_names"]) == [f"f{n}" for n in range(N_FEATURES)]


@pytest.mark.slow
def test_the_sum_over_layers_goes_with_it(trained: Callable[..., Path], tmp_path: Path) -> None:
    import onnxruntime

    names = [f"speech_model_{layer}_{value:04d}" for layer in range(2) for value in range(N_FEATURES // 2)]
    model = trained({"layers": 2}, names)
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "model.onnx"))
    features = np.random.default_rng(0).normal(1000, 50, (77, N_FEATURES)).astype(np.float32)
    (found,) = session.run(None, {"features": features})
    wanted = Predictor(model).predict([features], ["toy/a"]).filter(like="p_").to_numpy()[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
def test_an_utterance_can_be_normalised_by_itself(trained: Callable[..., Path], tmp_path: Path) -> None:
    import onnxruntime

    model = trained(normalisation="utterance")
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "model.onnx"))
    features = np.random.default_rng(0).normal(1000, 50, (77, N_FEATURES)).astype(np.float32)
    features[:, 0] = 7.0  # constant
    wanted = Predictor(model).predict([features], ["toy/a"]).filter(like="p_").to_numpy()[0]
    for other in (features, features * 2 + 3):
        (found,) = session.run(None, {"features": other.astype(np.float32)})
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ({}, {"normalisation": "speaker"}, "normalised by each speaker"),
        ({"length": "pad"}, {}, "encoder.length pad is not exported"),
    ],
)
def test_what_is_not_exported_says_so(
    trained: Callable[..., Path], tmp_path: Path, encoder: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export_onnx(trained(encoder, **options), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
