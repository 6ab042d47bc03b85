from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
from pipeline.acoustics.descriptors import _with_frames
from pipeline.audio import decode_flac, encode_flac
from pipeline.errors import InputError, Quarantined
from pipeline.rounding import keep_bits
from tests.pipeline.conftest import SHARED, speech_like, tone

OPENSMILES_FRAMES = {"frame_size": 0.02, "frame_step": 0.01}  # s, of both sets as they come
SPEECH = [(0.3, False), (0.8, True), (0.2, False), (1.0, True), (0.2, False)]


def item(samples: np.ndarray, rate: int = 16000) -> dict[str, Any]:
    return {"segment_id": "a#000", "flac": encode_flac(samples, rate)}


def table(row: dict[str, Any], extract: AcousticsExtractor) -> np.ndarray:
    return row["lld"].reshape(row["n_frames"], extract.metadata()["n_features"])


@pytest.fixture(scope="module")
def compare() -> AcousticsExtractor:
    return AcousticsExtractor(AcousticsConfig(**OPENSMILES_FRAMES))


@pytest.fixture(scope="module")
def egemaps() -> AcousticsExtractor:
    return AcousticsExtractor(AcousticsConfig(features="egemaps_lld", **OPENSMILES_FRAMES))


def plain(name: str, level: str, samples: np.ndarray) -> Any:
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel[level])
    return smile.process_signal(samples, 16000)


def real_or_made(kind: str) -> np.ndarray:
    if kind == "made":
        return decode_flac(encode_flac(speech_like(SPEECH), 16000))[0]
    path = next((SHARED / "data" / "ravdess").rglob("*.flac"), None)
    if path is None:
        pytest.skip("no folder of real clips (../shared/data)")
    return decode_flac(path.read_bytes())[0]


@pytest.mark.parametrize("kind", ["made", "real"])
def test_compare_is_what_opensmile_gives(compare: AcousticsExtractor, kind: str) -> None:
    samples = real_or_made(kind)
    row = compare(item(samples))
    lld, deltas = (plain("ComParE_2016", f"LowLevelDescriptors{part}", samples) for part in ("", "_Deltas"))
    assert compare.metadata()["feature_names"] == [*lld.columns, *deltas.columns]
    assert row["lld"].dtype == np.float32
    assert row["n_frames"] == len(lld)
    values = table(row, compare)
    assert (values[:, :65] == keep_bits(lld.to_numpy())).all()
    assert (values[:, 65:] == keep_bits(deltas.to_numpy()[: len(lld)])).all()  # openSMILE's own has two rows more


@pytest.mark.parametrize("kind", ["made", "real"])
def test_egemaps_is_what_opensmile_gives(egemaps: AcousticsExtractor, kind: str) -> None:
    samples = real_or_made(kind)
    lld = plain("eGeMAPSv02", "LowLevelDescriptors", samples)
    assert egemaps.metadata()["feature_names"] == list(lld.columns)
    assert (table(egemaps(item(samples)), egemaps) == keep_bits(lld.to_numpy())).all()


@pytest.mark.parametrize("extractor", ["compare", "egemaps"])
def test_lengths_agree_and_order_does_not_matter(extractor: str, request: pytest.FixtureRequest) -> None:
    extract = request.getfixturevalue(extractor)
    first = extract(item(speech_like(SPEECH)))
    extract(item(np.random.default_rng(0).normal(0, 0.3, 20000)))
    again = AcousticsExtractor(extract.config)(item(speech_like(SPEECH)))
    for other in (extract(item(speech_like(SPEECH))), again):
        assert all(np.array_equal(first[key], other[key]) for key in first)
    n = first["n_frames"]
    assert n == pytest.approx((2.5 - 0.06) / 0.01 + 2, abs=1)
    assert (len(first["rms_db"]), len(first["voiced"])) == (n, n)
    assert (first["rms_db"].dtype, first["voiced"].dtype) == (np.float32, np.bool_)
    assert "logmel" not in first


@pytest.mark.parametrize("extractor", ["compare", "egemaps"])
def test_level_and_voicing_are_at_the_time_of_the_sound(extractor: str, request: pytest.FixtureRequest) -> None:
    extract = request.getfixturevalue(extractor)
    samples = np.random.default_rng(0).normal(0, 1e-4, 32000)
    samples[8000:16000] += 0.5 * np.sign(np.sin(2 * np.pi * 150 * np.arange(8000) / 16000))
    row = extract(item(samples))
    voiced = np.flatnonzero(row["voiced"])
    middle = 0.010 + 0.010 * voiced  # s, of the short frames
    assert middle[0] == pytest.approx(0.5, abs=0.02)
    assert middle[-1] == pytest.approx(1.0, abs=0.02)
    assert row["voiced"][voiced[0] : voiced[-1]].all()
    assert row["rms_db"][52:97] == pytest.approx(20 * np.log10(0.5), abs=0.05)
    assert (row["rms_db"][:48] < -70).all()
    inside = row["rms_db"][row["voiced"]]
    assert np.mean(inside > -10) > 0.95, "voicing does not reach into the silence"


def test_level_is_that_of_the_descriptor(compare: AcousticsExtractor) -> None:
    """Before openSMILE's smoothing over three frames, its RMS energy is the same measure on the same frames."""
    row = compare(item(speech_like(SPEECH)))
    ours = 10 ** (row["rms_db"] / 20)
    theirs = table(row, compare)[:, compare.metadata()["feature_names"].index("pcm_RMSenergy_sma")]
    smooth = np.convolve(ours, np.full(3, 1 / 3), mode="same")
    assert theirs[1:-1] == pytest.approx(smooth[1:-1], abs=1e-3)


@pytest.mark.parametrize("features", ["compare_lld", "egemaps_lld"])
def test_longer_frames_and_steps(features: Any, compare: AcousticsExtractor) -> None:
    extract = AcousticsExtractor(AcousticsConfig(features=features, frame_size=0.032, frame_step=0.016))
    row = extract(item(speech_like(SPEECH)))
    assert row["n_frames"] == pytest.approx((2.5 - 0.06) / 0.016 + 2, abs=1)
    assert np.isfinite(row["lld"]).all()
    described = extract.metadata()
    assert (described["frame_period"], described["frame_size"]) == (0.016, 0.032)
    name = "pcm_RMSenergy_sma" if features == "compare_lld" else "Loudness_sma3"
    level = table(row, extract)[:, described["feature_names"].index(name)]
    loud = level > 0.3 * level.max()
    times = 0.016 + 0.016 * np.flatnonzero(loud)
    assert times[0] == pytest.approx(0.3, abs=0.05)
    assert times[-1] == pytest.approx(2.3, abs=0.05)
    assert row["voiced"][loud].mean() > 0.9


def test_other_opensmile_with_other_frames_is_refused() -> None:
    with pytest.raises(InputError, match="leave frame_size and frame_step"):
        _with_frames("[x:cFramer]\nframeSize = 0.025\nframeStep = 0.010\n", 0.032, 0.016)


def test_mel_spectrogram() -> None:
    import librosa

    samples = decode_flac(encode_flac(speech_like(SPEECH), 16000))[0]
    extract = AcousticsExtractor(AcousticsConfig(logmel=True))
    row = extract(item(samples))
    power = librosa.feature.melspectrogram(y=samples, sr=16000, n_fft=512, hop_length=256, n_mels=128)
    mel = row["logmel"].reshape(-1, 128)
    assert mel.shape == (1 + len(samples) // 256, 128)
    assert mel == pytest.approx(librosa.power_to_db(power, top_db=None).T, rel=2**-9, abs=1e-3)
    raw = AcousticsExtractor(AcousticsConfig(logmel=True, mel={"scale": "power"}))(item(samples))
    assert raw["logmel"].reshape(-1, 128) == pytest.approx(power.T, rel=2**-9 + 1e-4, abs=1e-9)
    assert (row["lld"] == AcousticsExtractor(AcousticsConfig())(item(samples))["lld"]).all()


def test_metadata_is_plain(compare: AcousticsExtractor) -> None:
    described = compare.metadata()
    assert json.loads(json.dumps(described)) == described
    assert (described["n_features"], described["frame_period"]) == (130, 0.01)
    mel = AcousticsExtractor(AcousticsConfig(logmel=True)).metadata()["logmel"]
    assert (mel["frame_period_samples"], mel["bands"]) == (256, 128)


@pytest.mark.parametrize("n", [1, 100, 959])
def test_too_short(compare: AcousticsExtractor, n: int) -> None:
    with pytest.raises(Quarantined, match=r"shorter than one analysis frame of 0\.06 s"):
        compare(item(tone(0.1, rate=16000)[:n]))


@pytest.mark.parametrize("extractor", ["compare", "egemaps"])
@pytest.mark.parametrize("n", [960, 1200, 16000])
def test_odd_sounds_give_numbers(extractor: str, n: int, request: pytest.FixtureRequest) -> None:
    extract = request.getfixturevalue(extractor)
    impulse = np.zeros(n)
    impulse[n // 2] = 1.0
    odd = [np.zeros(n), np.full(n, 0.5), impulse, np.sign(tone(1.0, rate=16000)[:n] + 1e-9)]
    for samples in (*odd, np.random.default_rng(0).normal(0, 2.0, n)):
        row = extract(item(samples))
        assert row["n_frames"] > 0
        assert np.isfinite(row["lld"]).all()
        assert np.isfinite(row["rms_db"]).all()
        assert row["rms_db"].min() >= -100


def test_values_that_are_no_numbers_are_quarantined(
    compare: AcousticsExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare.metadata()
    broken = np.zeros((1, 130, 50), np.float32)
    broken[0, 3, 7:9] = np.nan
    monkeypatch.setattr(compare._descriptors, "_smile", lambda samples, rate: broken)
    with pytest.raises(Quarantined, match=r"2 values that are no numbers \(jitterDDP_sma"):
        compare(item(tone(0.6, rate=16000)))


def test_temporary_files_go_with_the_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    extract = AcousticsExtractor(AcousticsConfig())
    extract(item(speech_like(SPEECH)))
    assert list(tmp_path.iterdir())
    del extract
    gc.collect()
    assert not list(tmp_path.iterdir())
