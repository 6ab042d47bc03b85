"""Samples: their number, level and place, and decoders that fail."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import media
from pipeline.errors import Quarantined
from tests.pipeline.conftest import RATE, counting_images, tone


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
