"""Usual files decode in this process: the same samples as from ffmpeg as a child, which takes over where it must."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline import media
from pipeline.errors import Quarantined
from pipeline.media import in_process, sound
from tests.pipeline.conftest import counting_images, run_ffmpeg, tone

CUTS: tuple[dict[str, Any], ...] = ({}, {"start": 0.3, "end": 1.1}, {"start": 2.345, "end": 4.0}, {"start": 4.5})


@pytest.fixture(autouse=True)
def _bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    # An ffmpeg of another release may give other samples.
    monkeypatch.setattr(sound, "ffmpeg_exe", media.files._bundled_ffmpeg)


class Ways:
    """Decodes a file by one way or the other, and counts the children."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.children = 0
        self._patch = monkeypatch
        start = sound.output_of

        def counted(*arguments: Any, **options: Any) -> Any:
            self.children += 1
            return start(*arguments, **options)

        monkeypatch.setattr(sound, "output_of", counted)

    def child(self, path: Path, **stretch: Any) -> np.ndarray:
        with self._patch.context() as patch:
            patch.setattr(sound, "is_usual", lambda *_: False)
            before = self.children
            samples = media.decode_audio(path, **stretch)
        assert self.children == before + 1
        self.children = before
        return samples


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


def voice(*, rate: int, channels: int, seconds: float = 5.3) -> np.ndarray:
    """Return a sweep with some noise; channels differ."""
    time = np.arange(round(seconds * rate)) / rate
    sweep = 0.4 * np.sin(2 * np.pi * (200 + 150 * time) * time)
    noise = np.random.default_rng(0).normal(0, 0.02, (len(time), channels))
    return sweep[:, None] * np.linspace(1, 0.4, channels) + noise


FORMATS = {
    "s16.wav": ["-c:a", "pcm_s16le"],
    "s24.wav": ["-c:a", "pcm_s24le"],
    "s32.wav": ["-c:a", "pcm_s32le"],
    "f32.wav": ["-c:a", "pcm_f32le"],
    "u8.wav": ["-c:a", "pcm_u8"],
    "mulaw.wav": ["-c:a", "pcm_mulaw"],
    "alaw.wav": ["-c:a", "pcm_alaw"],
    "a.flac": [],
    "a.mp3": ["-c:a", "libmp3lame"],
    "a.ogg": ["-c:a", "libvorbis"],
    "a.opus": ["-c:a", "libopus"],
    "aac.m4a": ["-c:a", "aac"],
    "alac.m4a": ["-c:a", "alac"],
    "opus.mp4": ["-c:a", "libopus"],
    "flac.mp4": ["-c:a", "flac", "-strict", "-2"],
    "mp3.mp4": ["-c:a", "libmp3lame"],
    "fragments.mp4": ["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-frag_duration", "1000000"],
    "pcm.mov": ["-c:a", "pcm_s16be"],
    "a.aac": ["-c:a", "aac"],
    "aac.mka": ["-c:a", "aac"],
    "a.webm": ["-c:a", "libopus"],
    "vorbis.webm": ["-c:a", "libvorbis"],
    "aac.ts": ["-c:a", "aac"],
    "mp2.mpg": ["-c:a", "mp2"],
    "mp3.avi": ["-c:a", "libmp3lame"],
    "pcm.avi": ["-c:a", "pcm_s16le"],
    "aac.flv": ["-c:a", "aac"],
    "mp3.flv": ["-c:a", "libmp3lame"],
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", FORMATS)
def test_both_ways_give_the_same_samples(make_sound: Callable[..., Path], ways: Ways, name: str, channels: int) -> None:
    rate = 48000 if "opus" in name or name.endswith("webm") else 44100
    path = make_sound(voice(rate=rate, channels=channels), rate=rate).with_name(name)
    run_ffmpeg("-i", path.with_name("sound.wav"), *FORMATS[name], path)
    for stretch in CUTS:
        same(ways, path, **stretch)
    assert not ways.children or path.suffix == ".mpg"  # where a seek ends within a packet, so the child takes over


def same(ways: Ways, path: Path, **stretch: Any) -> None:
    wanted = ways.child(path, **stretch)
    found = media.decode_audio(path, **stretch)
    assert len(found) == len(wanted)
    assert (found == wanted).all(), np.abs(found - wanted).max()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 48000, 96000])
@pytest.mark.parametrize("name", ["s16.wav", "a.flac", "aac.m4a"])
def test_all_rates(make_sound: Callable[..., Path], ways: Ways, name: str, rate: int) -> None:
    path = make_sound(voice(rate=rate, channels=1), rate=rate).with_name(name)
    run_ffmpeg("-i", path.with_name("sound.wav"), *FORMATS[name], path)
    for stretch in (*CUTS, {"start": 2.0, "end": 3.5, "sample_rate": 8000}):
        same(ways, path, **stretch)
    assert not ways.children


FILMS: dict[str, dict[str, Any]] = {
    "film.mp4": {},
    "film.mov": {},
    "film.mkv": {},
    "film.avi": {},
    "film.ts": {},
    "film.mpg": {},
    "film.flv": {},
    "late.mp4": {"before_sound": ["-itsoffset", "0.8"]},
    "late.mkv": {"before_sound": ["-itsoffset", "0.8"]},
    "late.mpg": {"before_sound": ["-itsoffset", "0.8"]},
    "film-late.mp4": {"before_video": ["-itsoffset", "0.8"]},
    "gap.mkv": {"options": ["-af", "aselect='not(between(t,0.5,1.2))'"]},
    "gap.mp4": {"options": ["-af", "aselect='not(between(t,2.5,3.2))'"]},
    "short.mp4": {"options": ["-t", "3.3"]},
}


@pytest.mark.parametrize("name", FILMS)
def test_films_too(make_film: Callable[..., Path], ways: Ways, name: str) -> None:
    path = make_film(counting_images(130), voice(rate=44100, channels=2), name=name, **FILMS[name])
    for stretch in CUTS:
        if stretch.get("start", 0) < 3 or name != "short.mp4":
            same(ways, path, **stretch)
    assert not ways.children or path.suffix == ".mpg"


@pytest.mark.parametrize("name", ["part.mp4", "part.mkv", "part.ts"])
def test_parts_that_were_cut_out_without_decoding(make_film: Callable[..., Path], ways: Ways, name: str) -> None:
    path = make_film(
        counting_images(250), voice(rate=44100, channels=2, seconds=10.0), name=f"whole{Path(name).suffix}"
    )
    part = path.with_name(name)
    run_ffmpeg("-ss", "2.3", "-i", path, "-t", "5.1", "-c", "copy", part)
    for stretch in CUTS:
        same(ways, part, **stretch)


def test_real_files(shared_data: Path, ways: Ways) -> None:
    for pattern in ("grid/s1/*.mp4", "grid/mixed/*.mpg", "trial/**/*.mp4", "readers/**/*.mp4", "crema_d/**/*.mp3"):
        for path in sorted(shared_data.glob(pattern))[:3]:
            for stretch in ({}, {"start": 0.4, "end": 1.0}):
                same(ways, path, **stretch)
    assert not ways.children


def test_channels_that_cancel_out_give_the_first_in_blocks(make_sound: Callable[..., Path], ways: Ways) -> None:
    noise = np.random.default_rng(0).normal(0, 1e-3, (32000, 2))
    path = make_sound(tone(2.0, rate=16000)[:, None] * (1, -1) + noise)
    same(ways, path)
    blocks = list(media.audio_blocks(path, block=7000))
    assert {len(block) for block in blocks[:-1]} == {7000}
    assert (np.concatenate(blocks) == ways.child(path)).all()


@pytest.mark.parametrize("name", ["six.wav", "ac3.mkv", "a.wma"])
def test_unusual_files_take_the_child(make_sound: Callable[..., Path], ways: Ways, name: str) -> None:
    path = make_sound(voice(rate=44100, channels=6 if name == "six.wav" else 2), rate=44100).with_name(name)
    run_ffmpeg("-i", path.with_name("sound.wav"), *(["-c:a", "ac3"] if "ac3" in name else []), path)
    assert len(media.decode_audio(path)) == pytest.approx(5.3 * 16000, abs=2000)
    assert ways.children == 1


def test_an_ffmpeg_that_is_named_decodes_everything(film: Path, ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = media.decoder_version()
    monkeypatch.setenv("AVSER_FFMPEG", str(media.files._bundled_ffmpeg()))
    media.decode_audio(film)
    assert ways.children == 1
    assert media.decoder_version() != usual  # part of the key of what is kept


def damaged(path: Path, *, at: float) -> Path:
    """Write zeros over a twentieth of a file."""
    data = bytearray(path.read_bytes())
    first, size = round(at * len(data)), len(data) // 20
    data[first : first + size] = bytes(size)
    broken = path.with_name(f"broken{path.suffix}")
    broken.write_bytes(data)
    return broken


@pytest.mark.parametrize("name", ["aac.m4a", "a.flac", "aac.mka", "a.mp3", "a.ogg"])
def test_damage_is_judged_by_the_child(make_sound: Callable[..., Path], ways: Ways, name: str) -> None:
    path = make_sound(voice(rate=44100, channels=2), rate=44100).with_name(name)
    run_ffmpeg("-i", path.with_name("sound.wav"), *FORMATS[name], path)
    path = damaged(path, at=0.6)
    wanted = outcome(ways.child, path)
    assert outcome(media.decode_audio, path) == wanted
    assert outcome(lambda path: np.concatenate(list(media.audio_blocks(path, block=5000))), path) == wanted


def outcome(decode: Callable[[Path], np.ndarray], path: Path) -> object:
    """Return the samples, or why there are none."""
    try:
        return decode(path).tolist()
    except Quarantined as reason:
        return str(reason)


def test_the_child_goes_on_where_this_process_stopped(
    make_sound: Callable[..., Path], ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_sound(voice(rate=44100, channels=2, seconds=20.0), rate=44100, name="a.flac")
    wanted = ways.child(path, start=2.5)
    whole = in_process._filtered

    def broken(*arguments: Any) -> Any:
        for number, samples in enumerate(whole(*arguments)):
            if number == 90:
                raise in_process.Unusual
            yield samples

    monkeypatch.setattr(in_process, "_filtered", broken)
    blocks = list(media.audio_blocks(path, start=2.5, block=5000))
    assert ways.children == 1
    assert len(blocks) > 10
    assert (np.concatenate(blocks) == wanted).all()


def test_rounded_times_do_not_tear_frames_apart() -> None:
    clock = in_process.FrameClock(44100)
    times = [clock(round(number * 1024 / 44.1), Fraction(1, 1000), 1024) for number in range(200)]
    assert times == [1024 * number for number in range(200)]
    assert clock(None, Fraction(1, 1000), 1024) == 200 * 1024
    later = clock(6000, Fraction(1, 1000), 1024)
    assert later == 6 * 44100  # a gap stays one


@pytest.mark.slow
def test_an_hour_needs_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 60):
        path = tmp_path / f"{minutes}.flac"
        run_ffmpeg("-f", "lavfi", "-i", f"sine=duration={60 * minutes}:sample_rate=16000", "-ac", "2", path)
        code = (
            "import resource, sys; from pipeline import media\n"
            f"print(sum(map(len, media.audio_blocks({str(path)!r}))) / 16000)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, peak = map(float, done.stdout.split())
        assert seconds == pytest.approx(60 * minutes, abs=0.1)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 30_000  # KiB; the sound itself is 230 MB


def changing_rate(folder: Path) -> Path:
    """Return 5.3 s at 44.1 kHz and then 5.3 s at 22.05 kHz in one transport stream whose clock goes on."""
    parts = []
    for name, rate, offset in (("a", 44100, 0.0), ("b", 22050, 5.3)):
        soundfile.write(folder / f"{name}.wav", voice(rate=rate, channels=1), rate)
        parts.append(folder / f"{name}.ts")
        options = ["-c:a", "aac", "-output_ts_offset", str(offset), "-muxdelay", "0"]
        run_ffmpeg("-i", str(folder / f"{name}.wav"), *options, str(parts[-1]))
    (folder / "changes.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    return folder / "changes.ts"


def test_after_a_change_of_the_sample_rate_it_is_the_sound_of_that_time(tmp_path: Path, ways: Ways) -> None:
    # Regression: the times of what follows the change were counted at the stream's stated rate: silence, "ok".
    path = changing_rate(tmp_path)
    here = media.decode_audio(path, start=7.5, end=9.0)
    np.testing.assert_array_equal(here, ways.child(path, start=7.5, end=9.0))
    assert np.sqrt(np.mean(here**2)) > 0.05


def test_a_stretch_in_which_the_sample_rate_changes_is_refused(tmp_path: Path) -> None:
    path = changing_rate(tmp_path)
    with pytest.raises(Quarantined, match="changes from 44100 to 22050 Hz after 5"):
        media.decode_audio(path)
    assert len(media.decode_audio(path, start=1.0, end=3.0)) == 32000  # before the change all is well
