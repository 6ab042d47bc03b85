"""Samples: their number, level and place, and decoders that fail."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import media
from pipeline.errors import Quarantined, Transient
from pipeline.media import child
from tests.pipeline.conftest import RATE, counting_images, run_ffmpeg, tone


def test_sample_count_and_level(make_sound: Callable[..., Path]) -> None:
    path = make_sound(tone(1.5), rate=RATE)
    samples = media.decode_audio(path)
    assert samples.dtype == np.float32
    assert len(samples) == 24000
    assert np.abs(samples - tone(1.5, rate=16000))[200:-200].max() < 2e-3
    assert len(media.decode_audio(path, sample_rate=8000)) == 12000


@pytest.mark.parametrize(("right", "level"), [(0.0, 0.25), (1.0, 0.5)])
def test_channels_are_averaged(make_sound: Callable[..., Path], right: float, level: float) -> None:
    left = tone(1.0)
    samples = media.decode_audio(make_sound(np.stack([left, right * left], axis=1), rate=RATE))
    assert np.abs(samples).max() == pytest.approx(level, rel=0.02)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mpg", "film.flv"])
def test_a_cut_is_that_part_of_the_whole(make_film: Callable[..., Path], name: str) -> None:
    # Not noise: AAC decoders make noise up anew each time (perceptual noise substitution).
    seconds = np.arange(6 * RATE) / RATE
    path = make_film(counting_images(150), 0.5 * np.sin(2 * np.pi * (200 + 150 * seconds) * seconds), name=name)
    whole, pictures = media.decode_audio(path), list(media.frames(path))
    for start, end in ((0.3, 1.1), (2.345, 4.0), (4.5, 5.5)):
        cut = media.decode_audio(path, start=start, end=end)
        assert len(cut) == round(end * 16000) - round(start * 16000)
        same = whole[round(start * 16000) : round(end * 16000)]
        if name == "film.mp4":
            assert np.abs(cut - same).max() < 1e-4
        else:  # their timestamps are rounded, to a millisecond at worst
            assert abs(lag(cut, same)) <= 16
        wanted = [frame for frame in pictures if start <= frame.time < end]
        found = list(media.frames(path, start=start, end=end))
        assert [frame.time for frame in found] == [frame.time for frame in wanted]
        assert all((a.image == b.image).all() for a, b in zip(found, wanted, strict=True))


def lag(a: np.ndarray, b: np.ndarray) -> int:
    """Return by how many samples ``a`` is later than ``b``."""
    spectrum = np.fft.rfft(a, 2 * len(a)) * np.conj(np.fft.rfft(b, 2 * len(a)))
    best = int(np.argmax(np.fft.irfft(spectrum)))
    return best if best < len(a) else best - 2 * len(a)


def test_blocks_make_the_whole(film: Path) -> None:
    blocks = list(media.audio_blocks(film, block=7000))
    assert {len(block) for block in blocks[:-1]} == {7000}
    assert (np.concatenate(blocks) == media.decode_audio(film)).all()


def test_sound_that_ends_is_not_prolonged(film: Path) -> None:
    assert len(media.decode_audio(film, start=1.5, end=9.0)) == pytest.approx(8000, abs=500)
    with pytest.raises(Quarantined, match="no sound after 5 s"):
        media.decode_audio(film, start=5.0)
    with pytest.raises(Quarantined, match="empty"):
        media.decode_audio(film, start=1.0, end=1.0)


def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "fake-ffmpeg"
    path.write_text(f'#!/bin/sh\n[ "$1" = -version ] && echo ffmpeg version 0 && exit\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setenv("AVSER_FFMPEG", str(path))


def test_failure_gives_the_last_line_without_addresses(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"echo 'first' >&2; echo '[aac @ 0x55d0] file:{film}: Channel is broken' >&2; exit 1"
    fake_ffmpeg(tmp_path, monkeypatch, lines)
    with pytest.raises(Quarantined, match=r"^its sound cannot be decoded \(Channel is broken\)$"):
        media.decode_audio(film)


def test_an_abandoned_reader_leaves_no_process(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    fake_ffmpeg(tmp_path, monkeypatch, f"trap '' PIPE; echo $$ > {pid}; cat /dev/zero 2> /dev/null; exec sleep 20")
    blocks = media.audio_blocks(film, block=100)
    next(blocks)
    started = time.monotonic()
    blocks.close()
    assert time.monotonic() - started < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("gains", [(1, -1), (1, -0.5), (1, -1, 1, -1), (1, -1) * 5])
def test_channels_that_cancel_out_give_the_first(make_sound: Callable[..., Path], gains: tuple[float, ...]) -> None:
    sound = tone(2.0, rate=16000)
    noise = np.random.default_rng(0).normal(0, 1e-3, (len(sound), len(gains)))
    path = make_sound(sound[:, None] * gains + noise)
    assert np.abs(media.decode_audio(path) - sound)[200:-200].max() < 0.02
    assert np.abs(media.decode_audio(path, start=0.5, end=1.5) - sound[8000:24000])[200:-200].max() < 0.02
    blocks = list(media.audio_blocks(path, block=7000))
    assert (np.concatenate(blocks) == media.decode_audio(path)).all()


@pytest.mark.parametrize("gains", [(1, 0), (0, 1), (1, -0.2), (1, 1, 1, 1), (1,) * 9, (0,) * 8 + (1,), (0.5, 1) * 16])
def test_channels_that_do_not_are_averaged(make_sound: Callable[..., Path], gains: tuple[float, ...]) -> None:
    sound = tone(2.0, rate=16000)
    samples = media.decode_audio(make_sound(sound[:, None] * gains))
    assert np.abs(samples - np.mean(gains) * sound)[200:-200].max() < 2e-3


def test_unrelated_channels_are_averaged(make_sound: Callable[..., Path]) -> None:
    for channels in (2, 4, 12):
        noise = np.random.default_rng(0).normal(0, 0.1, (32000, channels))
        level = media.decode_audio(make_sound(noise)).std()
        assert level == pytest.approx(0.1 / np.sqrt(channels), rel=0.1)


def test_surround_of_a_film_whose_voice_is_in_the_centre(make_sound: Callable[..., Path]) -> None:
    sound = np.zeros((32000, 6))
    sound[:, 2] = tone(2.0, rate=16000)
    path = make_sound(sound)
    film = path.with_suffix(".m4a")
    run_ffmpeg("-i", path, "-af", "channelmap=channel_layout=5.1", "-c:a", "aac", film)
    for one in (path, film):
        assert np.abs(media.decode_audio(one)).max() > 0.1


def test_a_sound_field_is_averaged(make_sound: Callable[..., Path]) -> None:
    path = make_sound(np.stack([tone(2.0, rate=48000)] * 4, axis=1), rate=48000)
    field = path.with_suffix(".mka")
    run_ffmpeg("-i", path, "-af", "aformat=channel_layouts=quad", "-c:a", "libopus", "-mapping_family", "2", field)
    assert media.probe(field).layout == "ambisonic 1"
    assert np.abs(media.decode_audio(field)).max() > 0.25


@pytest.mark.parametrize("killed", [True, False])
def test_no_ffmpeg_outlives_its_worker(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    pid = tmp_path / "pid"
    fake_ffmpeg(tmp_path, monkeypatch, f"echo $$ > {pid}; exec sleep 60")  # hangs without writing
    code = f"from pipeline import media; media.decode_audio({str(film)!r})"
    watchdog = "" if killed else "import faulthandler; faulthandler.dump_traceback_later(5, exit=True); "
    with subprocess.Popen([sys.executable, "-c", watchdog + code], stderr=subprocess.DEVNULL) as worker:
        wait_for(lambda: pid.exists() and pid.read_text().strip() != "")
        number = int(pid.read_text())
        os.kill(number, 0)
        if killed:
            worker.kill()
    wait_for(lambda: not Path(f"/proc/{number}").exists() or "zombie" in Path(f"/proc/{number}/status").read_text())


def wait_for(condition: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < 30
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("kill -KILL $$", Transient, "ended from outside"),
        ("kill -TERM $$", Transient, "ended from outside"),
        ("kill -SEGV $$", Quarantined, "crash"),
        ("exec /nowhere/ffmpeg", Transient, "cannot be started"),
    ],
)
def test_only_the_file_is_to_blame_for_a_crash(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: type[Exception], message: str
) -> None:
    fake_ffmpeg(tmp_path, monkeypatch, script)
    with pytest.raises(error, match=message):
        media.decode_audio(film)


def test_ffmpeg_is_bounded_in_memory(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(resource, "prlimit"):
        pytest.skip("no limits for other processes")
    fake_ffmpeg(tmp_path, monkeypatch, "sleep .5; ulimit -v >&2; exit 1")
    with pytest.raises(Quarantined, match=rf"\({child.MEMORY // 1024}\)"):
        media.decode_audio(film)
