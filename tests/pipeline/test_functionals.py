"""Functionals of real sound: openSMILE's own numbers, named, and a reason where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import opensmile
import pytest
from pydantic import ValidationError

from pipeline.audio import AudioConfig, AudioExtractor, decode_flac, encode_flac
from pipeline.contracts import FUNCTIONALS
from pipeline.errors import Quarantined
from pipeline.functionals import FunctionalsConfig, FunctionalsExtractor
from tests.pipeline.conftest import tone

SPEECH = "ravdess/Actor_02/03-01-05-01-01-01-02.flac"


def flac(samples: np.ndarray) -> bytes:
    return encode_flac(samples, 16000)


def voice(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.01, round(seconds * 16000))
    return tone(seconds, rate=16000, hertz=180.0, level=0.3)[: len(noise)] + noise


def test_values_are_opensmiles_own_whatever_came_between() -> None:
    extract = FunctionalsExtractor(FunctionalsConfig())
    sound = flac(voice())
    row = extract({"segment_id": "a", "flac": sound})
    samples, rate = decode_flac(sound)
    for name, chosen, size in (
        ("egemaps", opensmile.FeatureSet.eGeMAPSv02, 88),
        ("compare", opensmile.FeatureSet.ComParE_2016, 6373),
    ):
        fresh = opensmile.Smile(feature_set=chosen, feature_level=opensmile.FeatureLevel.Functionals)
        wanted = fresh.process_signal(samples, rate)
        assert row[name].dtype == np.float32
        assert row[name].shape == (size,)
        assert np.array_equal(row[name], wanted.to_numpy(np.float32)[0])
        assert extract.metadata()["sets"][name]["feature_names"] == list(wanted.columns)
    extract({"flac": flac(voice(0.7, seed=1))})
    again = extract({"flac": sound})
    assert all(np.array_equal(again[name], row[name]) for name in row)
    assert set(row) <= set(FUNCTIONALS.names)


def test_pitch_of_a_tone_is_found_where_the_name_says() -> None:
    """The names and the values belong together: F0 of a tone is known."""
    extract = FunctionalsExtractor(FunctionalsConfig(sets=("egemaps",)))
    names = extract.metadata()["sets"]["egemaps"]["feature_names"]
    where = names.index("F0semitoneFrom27.5Hz_sma3nz_amean")
    low, high = (
        extract({"flac": flac(np.sign(tone(1.0, rate=16000, hertz=hertz, level=0.3)) * 0.2)})["egemaps"][where]
        for hertz in (110.0, 220.0)
    )
    assert low == pytest.approx(24.0, abs=0.3)  # 110 Hz is two octaves above 27.5 Hz
    assert high == pytest.approx(36.0, abs=0.3)


def test_one_set_alone() -> None:
    extract = FunctionalsExtractor(FunctionalsConfig(sets=("egemaps",)))
    assert set(extract({"flac": flac(voice())})) == {"egemaps"}
    assert set(extract.metadata()["sets"]) == {"egemaps"}


def test_too_short_is_a_reason_and_silence_is_not() -> None:
    extract = FunctionalsExtractor(FunctionalsConfig())
    with pytest.raises(Quarantined, match=r"0\.050 s of sound is shorter"):
        extract({"flac": flac(voice(0.05))})
    for samples in (voice(0.1), np.zeros(8000)):
        assert all(np.isfinite(values).all() for values in extract({"flac": flac(samples)}).values())


@pytest.mark.parametrize("sets", [[], ["egemaps", "egemaps"], ["gemaps"]])
def test_wrong_sets_are_refused(sets: list[str]) -> None:
    with pytest.raises(ValidationError):
        FunctionalsConfig.model_validate({"sets": sets})


def test_real_speech(shared_data: Path) -> None:
    path = shared_data / SPEECH
    sound = AudioExtractor(AudioConfig())({"media_path": str(path), "start": 0.0, "end": 3.0})["flac"]
    extract = FunctionalsExtractor(FunctionalsConfig(sets=("egemaps",)))
    values = dict(
        zip(extract.metadata()["sets"]["egemaps"]["feature_names"], extract({"flac": sound})["egemaps"], strict=True)
    )
    assert 15 < values["F0semitoneFrom27.5Hz_sma3nz_amean"] < 50  # 65 to 490 Hz
    assert 1 < values["loudnessPeaksPerSec"] < 12
