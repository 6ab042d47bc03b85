"""Frame features of a pretrained speech model, on tiny random models in the real format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
from pipeline.audio import encode_flac
from pipeline.engine.identity import identity
from pipeline.errors import InputError, Quarantined
from pipeline.front_end.grid import feature_grid
from tests.pipeline.conftest import tone

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
KINDS = {"Wav2Vec2": "Wav2Vec2Model", "Hubert": "HubertModel", "WavLM": "WavLMModel"}


def make(folder: Path, kind: str = "Wav2Vec2", *, seed: int = 0, normalise: bool = True) -> Path:
    torch.manual_seed(seed)
    config = getattr(transformers, f"{kind}Config")(**SMALL)
    getattr(transformers, KINDS[kind])(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise, sampling_rate=16000).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("models") / "wav2vec")


def extractor(path: Path, **options: Any) -> AcousticsExtractor:
    return AcousticsExtractor(AcousticsConfig(speech_model={"path": path, **options}))


def item(samples: np.ndarray) -> dict[str, Any]:
    return {"segment_id": "a#000", "flac": encode_flac(samples, 16000)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [-1, 0, 1])
def test_frames_are_the_models_own(tmp_path: Path, kind: str, layer: int) -> None:
    path = make(tmp_path / kind, kind)
    extract = extractor(path, layer=layer)
    row = extract(item(tone(1.0, rate=16000)))
    described = extract.metadata()["speech_model"]
    found = row["speech_model"].reshape(-1, described["n_features"])
    assert found.dtype == np.float32
    assert described["frame_period_samples"] == 320
    assert len(found) == 49  # 20 ms apart, 25 ms long
    from pipeline.audio import decode_flac

    samples, _ = decode_flac(item(tone(1.0, rate=16000))["flac"])
    front = transformers.AutoFeatureExtractor.from_pretrained(path)
    wave = front(samples, sampling_rate=16000, return_tensors="pt").input_values
    model = transformers.AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        expected = model(wave, output_hidden_states=True).hidden_states[layer]
    np.testing.assert_allclose(found, expected[0].numpy(), rtol=2**-9, atol=1e-4)


def test_another_model_is_another_identity(folder: Path, tmp_path: Path) -> None:
    import shutil

    other = make(tmp_path / "other", seed=1)
    copy = shutil.copytree(folder, tmp_path / "copy")
    hashes = [extractor(path).metadata()["speech_model"]["sha256"] for path in (folder, other, copy)]
    assert hashes[0] == hashes[2] != hashes[1]
    assert "transformers" in identity(extractor(folder))["packages"]
    assert "speech_model" not in AcousticsExtractor(AcousticsConfig()).metadata()


def test_what_cannot_work_says_why(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no config\.json; name the folder"):
        extractor(tmp_path)
    with pytest.raises(InputError, match="has 2 layers: 0 to that"):
        extractor(folder, layer=3).metadata()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 4}))
    with pytest.raises(InputError, match="not a speech model"):
        extractor(tmp_path).metadata()
    with pytest.raises(Quarantined, match="too short for the speech model: 399 samples, it needs 400"):
        extractor(folder)._speech_model(np.zeros(399, np.float32), 16000)
    assert len(extractor(folder)._speech_model(np.zeros(400, np.float32), 16000)) == 1
    with pytest.raises(InputError, match="takes 16000 Hz, the audio table has 8000"):
        extractor(folder)._speech_model(np.zeros(8000, np.float32), 8000)


@pytest.mark.parametrize(("column", "first", "count", "period", "centre"), [
    ("lld", "F0final_sma", 130, 0.016, 0.016),
    ("logmel", "mel_000", 128, 0.016, 0.0),
    ("speech_model", "speech_model_0000", 12, 0.02, 0.0125),
])  # fmt: skip
def test_every_column_can_become_the_features(
    folder: Path, column: str, first: str, count: int, period: float, centre: float
) -> None:
    source = AcousticsExtractor(AcousticsConfig(logmel=True, speech_model={"path": folder})).metadata()
    grid = feature_grid(source, column, 16000)
    assert (first in grid.names, len(grid.names), grid.period, grid.centre) == (True, count, period, centre)


def test_a_column_that_was_not_computed_is_named() -> None:
    bare = AcousticsExtractor(AcousticsConfig()).metadata()
    with pytest.raises(InputError, match=r"'speech_model', which the acoustics table lacks: set acoustics\.speech_mod"):
        feature_grid(bare, "speech_model", 16000)
    with pytest.raises(InputError, match=r"set acoustics\.logmel to true"):
        feature_grid(bare, "logmel", 16000)
