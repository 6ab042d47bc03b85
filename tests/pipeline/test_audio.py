from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.audio import AudioConfig, AudioExtractor, decode_flac, encode_flac
from pipeline.errors import Quarantined
from tests.pipeline.conftest import RATE, run_ffmpeg, tone


@settings(deadline=None)  # a busy machine is no fault
@given(steps=hnp.arrays(np.int16, st.integers(1, 3000)))
def test_flac_keeps_sixteen_bits(steps: np.ndarray) -> None:
    samples, rate = decode_flac(encode_flac(steps / 32768, 16000))
    assert rate == 16000
    assert samples.dtype == np.float32
    assert (samples * 32768 == steps).all()


def test_too_loud_is_clipped_not_wrapped() -> None:
    samples, _ = decode_flac(encode_flac(np.array([1.0, 1.5, -1.5, 0.2]), 16000))
    assert samples == pytest.approx([1.0, 1.0, -1.0, 0.2], abs=1e-4)


def test_extractor(film: Path) -> None:
    extract = AudioExtractor(AudioConfig())
    item = {"segment_id": "a#000", "media_path": str(film), "start": 0.5, "end": 1.75}
    row = extract(item)
    assert set(row) == {"sample_rate", "flac"}
    assert row["sample_rate"] == 16000
    samples, rate = decode_flac(row["flac"])
    assert (rate, samples.shape) == (16000, (20000,))
    wanted = tone(2.0, rate=16000)[8000:28000]
    assert np.abs(samples - wanted).max() < 0.02
    extract({**item, "start": 0.0})
    assert extract(item) == row, "the same bytes again, whatever came between"
    assert extract.metadata()["sample_rate"] == 16000


def test_other_rate(make_sound: Callable[..., Path]) -> None:
    row = AudioExtractor(AudioConfig(sample_rate=8000))(
        {"media_path": str(make_sound(tone(1.0), rate=RATE)), "start": 0.0, "end": 1.0}
    )
    samples, rate = decode_flac(row["flac"])
    assert (rate, len(samples)) == (8000, 8000)


def test_stretch_without_sound(film: Path) -> None:
    with pytest.raises(Quarantined, match="no sound"):
        AudioExtractor(AudioConfig())({"media_path": str(film), "start": 4.0, "end": 5.0})


@pytest.mark.parametrize("scale", [4, 10, 2**15, 2**31])
@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "FLOAT"), ("a.wav", "DOUBLE"), ("a.aiff", "FLOAT")])
def test_floats_beyond_full_scale_are_not_clipped(tmp_path: Path, scale: float, name: str, subtype: str) -> None:
    path = tmp_path / name
    soundfile.write(path, scale * tone(1.0, rate=16000, level=0.9), 16000, subtype=subtype)
    decibels = round(20 * np.log10(0.9 * scale))
    with pytest.raises(Quarantined, match=f"exceeds full scale by {decibels} dB"):
        AudioExtractor(AudioConfig())({"media_path": str(path), "start": 0.0, "end": 1.0})


@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_recordings_that_were_clipped_pass(make_sound: Callable[..., Path], name: str) -> None:
    rng = np.random.default_rng(0)
    voice = np.repeat(rng.uniform(0, 3, 20), RATE // 10) * tone(2.0) + rng.normal(0, 0.3, 2 * RATE)
    path = make_sound(np.clip(voice, -1, 1), rate=RATE)
    if name == "a.mp3":
        run_ffmpeg("-i", path, "-b:a", "32k", path := path.with_suffix(".mp3"))
    AudioExtractor(AudioConfig())({"media_path": str(path), "start": 0.0, "end": 2.0})
