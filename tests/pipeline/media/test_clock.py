"""Sound and picture run on one clock; real films decode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import media
from pipeline.errors import Quarantined
from tests.pipeline.conftest import RATE, run_ffmpeg
from tests.pipeline.faces import LEAVES


def click_and_flash(at: float, *, fps: float, seconds: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    images = np.zeros((round(seconds * fps), 48, 64, 3), np.uint8)
    images[round(at * fps)] = 255
    samples = np.zeros(round(seconds * RATE))
    samples[round(at * RATE) : round(at * RATE) + 200] = 0.9
    return images, samples


def times_of_click_and_flash(path: Path, **stretch: float) -> tuple[float, float]:
    samples = media.decode_audio(path, **stretch)
    click = stretch.get("start", 0.0) + np.argmax(np.abs(samples) > 0.3) / 16000
    flash = max(media.frames(path, **stretch), key=lambda frame: frame.image.mean())
    assert flash.image.mean() > 100
    return float(click), flash.time


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mpg", "film.avi", "film.mov", "film.flv", "film.ts"])
@pytest.mark.parametrize("stretch", [{}, {"start": 1.7, "end": 2.9}])
def test_click_and_flash_at_one_time(make_film: Callable[..., Path], name: str, stretch: dict[str, float]) -> None:
    images, samples = click_and_flash(2.0, fps=25)
    path = make_film(images, samples, name=name)
    click, flash = times_of_click_and_flash(path, **stretch)
    assert abs(click - flash) <= 1 / 25


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mpg", "film.ts"])
@pytest.mark.parametrize("late", ["sound", "video"])
def test_a_late_stream_stays_in_step(make_film: Callable[..., Path], name: str, late: str) -> None:
    images, samples = click_and_flash(1.0, fps=25)
    offset = {f"before_{late}": ["-itsoffset", "0.8"]}
    path = make_film(images, samples, name=name, **offset)
    click, flash = times_of_click_and_flash(path)
    first, second = (click, flash) if late == "sound" else (flash, click)
    assert first - second == pytest.approx(0.8, abs=1 / 25)
    assert times_of_click_and_flash(path, start=0.9, end=2.5) == pytest.approx((click, flash), abs=1e-3)


def test_variable_rate_and_rotation_stay_in_step(make_film: Callable[..., Path], tmp_path: Path) -> None:
    images, samples = click_and_flash(2.0, fps=50)
    options = ["-vf", "select='not(mod(n,2))+between(n,90,110)'", "-fps_mode", "vfr"]
    path = make_film(images, samples, fps=50, options=options)
    turned = tmp_path / "turned.mov"
    run_ffmpeg("-display_rotation", "90", "-i", path, "-c", "copy", turned)
    for one in (path, turned):
        click, flash = times_of_click_and_flash(one)
        assert abs(click - flash) <= 1 / 50


def test_a_gap_in_the_sound_stays_a_gap(make_film: Callable[..., Path]) -> None:
    images, samples = click_and_flash(2.0, fps=25)
    drop = ["-af", "aselect='not(between(t,0.5,1.2))'"]
    click, flash = times_of_click_and_flash(make_film(images, samples, name="film.mkv", options=drop))
    assert abs(click - flash) <= 1 / 25 + 0.1  # gaps below 0.1 s are taken for rounded timestamps


def test_late_sound_of_a_phone_film() -> None:
    info = media.probe(LEAVES)
    assert info.audio_start == pytest.approx(2.43, abs=0.001)
    samples = media.decode_audio(LEAVES)
    assert not samples[: round(2.42 * 16000)].any()
    assert np.abs(samples[round(2.5 * 16000) :]).max() > 0.01
    assert len(samples) == pytest.approx(6.424 * 16000, abs=500)


def test_real_films_decode(shared_data: Path) -> None:
    film = min((shared_data / "grid" / "mixed").glob("*.mpg"))
    assert len(list(media.frames(film))) == pytest.approx(75, abs=1)
    assert len(media.decode_audio(film)) == pytest.approx(2.97 * 16000, abs=500)
    pointer = next((shared_data / "crema_d").rglob("1003_DFA_ANG_XX.flv"))
    with pytest.raises(Quarantined, match="git lfs pull"):
        media.probe(pointer)
    covered = next((shared_data / "trial").rglob("trial_lie_032.mp4"))
    assert media.probe(covered).video_index == 0
