"""Frames of a Whisper encoder: a tiny random one in the real format, and the real one where it is at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.acoustics.speech_families import PADDING
from pipeline.acoustics.speech_model import SpeechModel, SpeechModelConfig
from pipeline.errors import InputError, Quarantined
from pipeline.front_end.grid import feature_grid
from tests.pipeline.conftest import tone

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

REAL = Path(__file__).parents[4] / "shared/models/whisper-tiny.en-encoder"
POSITIONS = 100  # 2 s
LAYERS, SIZE, HOP, RATE = 2, 16, 320, 16000


def make(folder: Path, *, seed: int = 0, encoder_only: bool = False) -> Path:
    torch.manual_seed(seed)
    config = transformers.WhisperConfig(
        d_model=SIZE, encoder_layers=LAYERS, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, max_source_positions=POSITIONS, max_target_positions=8, vocab_size=20,
        num_mel_bins=20, pad_token_id=1, bos_token_id=1, eos_token_id=1, decoder_start_token_id=1,
    )  # fmt: skip
    whole = transformers.WhisperForConditionalGeneration(config)
    if encoder_only:
        kept = {name: value for name, value in whole.state_dict().items() if ".encoder." in name}
        whole.save_pretrained(folder, state_dict=kept)
    else:
        whole.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("models") / "whisper")


def model(path: Path, **options: Any) -> SpeechModel:
    return SpeechModel(SpeechModelConfig(path=path, **options))


def test_what_fills_its_window_gives_the_encoders_own_states(folder: Path) -> None:
    sound = tone(2 - PADDING, rate=RATE)
    mel = transformers.WhisperFeatureExtractor.from_pretrained(folder)(
        np.pad(sound, (0, round(PADDING * RATE))), sampling_rate=RATE, return_tensors="pt"
    )
    official = transformers.WhisperModel.from_pretrained(folder).eval().encoder
    with torch.no_grad():
        states = official(mel.input_features, output_hidden_states=True).hidden_states
    for layer in range(LAYERS + 1):
        found = model(folder, layer=layer)(sound, RATE)
        assert found.shape == (75, SIZE)
        np.testing.assert_allclose(found, states[layer][0, :75].numpy(), atol=1e-5)
    for layer, same in ((-1, LAYERS), ("middle", 1)):
        found = [model(folder, layer=one)(sound, RATE) for one in (layer, same)]
        np.testing.assert_array_equal(*found)


def test_all_layers_lie_side_by_side_and_have_names(folder: Path) -> None:
    every = model(folder, layer="all")
    found = every(tone(1.0, rate=RATE), RATE).reshape(50, LAYERS + 1, SIZE)
    for layer in range(LAYERS + 1):
        np.testing.assert_array_equal(found[:, layer], model(folder, layer=layer)(tone(1.0, rate=RATE), RATE))
    grid = feature_grid({"speech_model": every.metadata()}, "speech_model", RATE)
    assert (len(grid.names), grid.names[SIZE], grid.period, grid.centre) == (48, "speech_model_1_0000", 0.02, 0.0)


@pytest.mark.parametrize("seconds", [0.001, 0.02, 1.0, 1.5, 1.51, 4.7])
def test_speech_of_any_length_has_a_frame_every_20_ms(folder: Path, seconds: float) -> None:
    sound = tone(seconds, rate=RATE)
    found = model(folder)(sound, RATE)
    assert found.shape == (-(-len(sound) // HOP), SIZE)
    assert np.isfinite(found).all()
    # the second window begins anew, where the first one ends
    if seconds > 4:
        window = round((2 - PADDING) * RATE)
        np.testing.assert_allclose(found[75:150], model(folder)(sound[window : 2 * window + 8000], RATE)[:75], atol=0.5)


def test_a_decoder_need_not_be_there_but_the_encoder_must(folder: Path, tmp_path: Path) -> None:
    alone = make(tmp_path / "alone", encoder_only=True)
    sound = tone(1.0, rate=RATE)
    np.testing.assert_array_equal(model(alone)(sound, RATE), model(folder)(sound, RATE))
    broken = shutil.copytree(folder, tmp_path / "broken")
    described = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(described | {"encoder_layers": 3}))
    with pytest.raises(InputError, match=r"broken cannot be loaded: weights are missing: layers\.2"):
        model(broken)(sound, RATE)
    del described["d_model"]
    (broken / "config.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match=r"config\.json lacks 'd_model'"):
        model(broken).metadata()
    with pytest.raises(Quarantined, match="too short"):
        model(folder)(np.zeros(0, np.float32), RATE)
    with pytest.raises(InputError, match="takes 16000 Hz"):
        model(folder)(sound, 8000)


@pytest.mark.skipif(not REAL.is_dir(), reason="the encoder of Whisper tiny.en is not at hand")
def test_the_real_encoder_hears_the_same_in_short_and_in_30_s() -> None:
    short = model(REAL, layer=2)
    assert short.metadata()["n_features"] == 384
    rng = np.random.default_rng(0)
    sound = tone(3.0, rate=RATE) * (1 + 0.3 * rng.standard_normal(3 * RATE).astype(np.float32))
    found = short(sound, RATE)
    long = short(np.pad(sound, (0, 26 * RATE)), RATE)[: len(found)]
    assert found.shape == (150, 384)
    likeness = [np.corrcoef(a, b)[0, 1] for a, b in zip(found, long, strict=True)]
    assert np.median(likeness) > 0.9
