"""Lengths are measured where they are not stated; a clock that starts anew or leaps is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline import media
from pipeline.errors import Quarantined
from pipeline.segments import SegmentsConfig, SegmentsExtractor
from tests import ROOT
from tests.pipeline.conftest import RATE, counting_images, run_ffmpeg, tone

MP2 = ["-c:v", "mpeg2video", "-c:a", "mp2"]
MP3 = ["-c:a", "libmp3lame", "-ar", "44100"]


def used(path: Path) -> float:
    """Return how many seconds of a labelled clip become its segment, from the checks of a whole file to its sound."""
    (piece,) = SegmentsExtractor(SegmentsConfig())({"media_path": path, "labelled": True})["segments"]
    assert piece["start"] == 0
    return float(piece["end"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.ts", []),
        ("a.mpg", MP2),
        ("a.mkv", []),
        ("a.flv", MP3),
        ("a.mp4", []),
        ("a.ogg", ["-vn"]),
        ("a.flac", ["-vn"]),
        ("a.wav", ["-vn"]),
    ],
)
def test_joined_files_are_refused(make_film: Callable[..., Path], name: str, options: list[str]) -> None:
    path = make_film(counting_images(50), tone(2.0), name=name, options=options)
    assert used(path) == pytest.approx(2.0, abs=0.1)
    path.write_bytes(path.read_bytes() * 3)
    with pytest.raises(Quarantined, match="joined end to end"):
        media.probe(path)


@pytest.mark.parametrize(("name", "options"), [("a.ts", []), ("a.mpg", MP2), ("a.mkv", [])])
def test_neither_sound_nor_picture_of_joined_files_is_cut_short(
    make_film: Callable[..., Path], name: str, options: list[str]
) -> None:
    path = make_film(counting_images(50), tone(2.0), name=name, options=options)
    path.write_bytes(path.read_bytes() * 3)
    for read in (media.decode_audio, lambda path: list(media.frames(path))):
        with pytest.raises(Quarantined, match="starts anew"):
            read(path)
    assert len(media.decode_audio(path, end=1.0)) == 16000  # what comes before is sound


@pytest.mark.parametrize("name", ["a.mp3", "a.aac", "a.ts"])
def test_streams_that_count_on_are_read_to_their_end(make_sound: Callable[..., Path], name: str) -> None:
    source = make_sound(tone(2.0, rate=RATE), rate=RATE)
    path = source.with_name(name)
    if name == "a.ts":
        run_ffmpeg("-i", source, path)
    else:
        run_ffmpeg("-i", source, "-write_xing", "0", path) if name == "a.mp3" else run_ffmpeg("-i", source, path)
        path.write_bytes(path.read_bytes() * 3)
    assert used(path) == pytest.approx(2.0 if name == "a.ts" else 6.0, abs=0.2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp3", ["-f", "mp3", "-write_xing", "0"]),
        ("a.aac", ["-f", "adts", "-c:a", "aac", "-q:a", "1"]),
        ("a.mkv", ["-f", "matroska", "-c:a", "libmp3lame"]),
        ("a.wma", ["-f", "asf", "-c:a", "libmp3lame"]),
        ("b.wma", ["-f", "asf", "-c:a", "wmav2", "-b:a", "128k"]),
    ],
)
def test_a_guessed_length_is_measured(make_sound: Callable[..., Path], name: str, options: list[str]) -> None:
    rng = np.random.default_rng(0)
    sound = np.concatenate([rng.uniform(-0.9, 0.9, 2 * RATE), 0.05 * tone(8.0)])  # starts with a door slam
    source = make_sound(sound, rate=RATE)
    path = source.with_name(name)
    path.write_bytes(run_ffmpeg("-i", source, "-q:a", "9", *options, "-"))
    with av.open(str(path)) as container:
        assert container.duration is None or abs(container.duration / 1e6 - 10) > 0.5
    assert media.probe(path).duration == pytest.approx(10.0, abs=0.06)
    assert used(path) == pytest.approx(10.0, abs=0.06)
    cut = {"media_path": path, "labelled": True, "start": 8.7, "end": 9.9}
    assert SegmentsExtractor(SegmentsConfig())(cut)["segments"] == [{"start": 8.7, "end": 9.9}]


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mkv", []), ("a.mp4", []), ("a.ts", []), ("a.flv", MP3), ("a.mpg", MP2), ("a.webm", ["-c:a", "libopus"])],
)
def test_pieces_of_a_recording(make_film: Callable[..., Path], name: str, options: list[str]) -> None:
    path = make_film(counting_images(225), tone(9.0), name=name, options=["-g", "12", *options])
    run_ffmpeg("-i", path, "-c", "copy", "-f", "segment", "-segment_time", "3", path.with_name(f"piece%d{path.suffix}"))
    piece = path.with_name(f"piece1{path.suffix}")
    info = media.probe(piece)
    assert info.origin > 2
    assert 2 < info.duration < 4.5
    assert used(piece) == pytest.approx(len(media.decode_audio(piece)) / 16000, abs=0.01)
    assert used(piece) == pytest.approx(info.duration, abs=0.15)
    piece.write_bytes(piece.read_bytes()[: piece.stat().st_size // 3])
    if name in ("a.mkv", "a.flv"):  # which state their length at the beginning
        with pytest.raises(Quarantined, match="cut off"):
            used(piece)


def test_the_third_piece_of_a_stream(make_film: Callable[..., Path]) -> None:
    path = make_film(counting_images(225), tone(9.0))
    playlist = ["-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", "3", "-hls_playlist_type", "vod"]
    run_ffmpeg("-i", path, "-c", "copy", *playlist, "-hls_fmp4_init_filename", "init.mp4", path.with_name("h.m3u8"))
    piece = path.with_name("piece.mp4")
    piece.write_bytes(path.with_name("init.mp4").read_bytes() + path.with_name("h2.m4s").read_bytes())
    assert used(piece) == pytest.approx(len(media.decode_audio(piece)) / 16000, abs=0.01)


def test_a_clock_that_starts_below_zero(make_film: Callable[..., Path]) -> None:
    path = make_film(counting_images(75), tone(3.0))
    early = path.with_name("early.mkv")
    run_ffmpeg("-i", path, "-c", "copy", "-avoid_negative_ts", "disabled", "-output_ts_offset", "-0.5", early)
    assert used(early) == pytest.approx(3.0, abs=0.05)
    times = [frame.time for frame in media.frames(early)]
    assert len(times) == 75
    assert np.allclose(times, np.arange(75) / 25, atol=0.05)


def sound_that_leaps(path: Path, *, before: float, seconds: float) -> Path:
    """Write two seconds of noise, the second half ``seconds`` later, all of it ``before`` s later than the film."""
    noise = np.random.default_rng(0).normal(0, 3000, (94, 1, 2048)).astype(np.int16)
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=48000, layout="stereo")
        film = container.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        for number, samples in enumerate(noise):
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.rate = 48000
            frame.pts = number * 1024 + round((before + (seconds if number >= 47 else 0.0)) * 48000)
            container.mux(sound.encode(frame))
        for number in range(10):
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts = number
            container.mux(film.encode(picture))
        container.mux(sound.encode())
        container.mux(film.encode())
    return path


@pytest.mark.parametrize(("before", "seconds"), [(0.0, 10_000.0), (10_000.0, 0.0)])
def test_a_leap_of_the_sound_does_not_fill_the_memory(tmp_path: Path, before: float, seconds: float) -> None:
    path = sound_that_leaps(tmp_path / "leap.mkv", before=before, seconds=seconds)
    for read in (used, media.decode_audio, lambda path: media.decode_audio(path, start=5.0, end=9.0)):
        with pytest.raises(Quarantined, match=r"has no sound from .* longer gap than the 300 s"):
            read(path)
    # In a process of its own, whose children are ffmpeg alone.
    code = (
        "import resource, sys; from pipeline import media; from pipeline.errors import Quarantined\n"
        "try: media.decode_audio(sys.argv[1])\n"
        "except Quarantined: print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500_000  # kB


def test_a_gap_that_fits_is_filled(tmp_path: Path) -> None:
    path = sound_that_leaps(tmp_path / "gap.mkv", before=0.0, seconds=20.0)
    assert used(path) == pytest.approx(22.0, abs=0.05)


def test_a_file_of_days_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.media import extent

    monkeypatch.setattr(extent, "MAX_LENGTH", 3600.0)
    monkeypatch.setattr(extent, "MAX_GAP", 1e9)
    with pytest.raises(Quarantined, match="lasts over 1 h"):
        media.probe(sound_that_leaps(tmp_path / "leap.mkv", before=0.0, seconds=10_000.0))
