"""Frames: each once, upright, as small as wanted, thinned to a rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import media
from pipeline.errors import Quarantined
from pipeline.media import picture
from tests.pipeline.conftest import counting_images, run_ffmpeg, tone


def test_every_frame_comes_once_with_its_time(film: Path) -> None:
    found = list(media.frames(film))
    assert np.allclose([frame.time for frame in found], np.arange(50) / 25)
    brightness = [frame.image.mean() for frame in found]
    assert np.allclose(brightness, counting_images(50).mean(axis=(1, 2, 3)), atol=4)


def test_frames_that_the_index_leads_past_are_found(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "_PREROLL", -0.6)  # seeks too far, as a wrong index would
    assert [frame.time for frame in media.frames(film, start=0.5, end=0.8)] == pytest.approx(np.arange(13, 20) / 25)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.mpg", "film.ts", "film.avi", "film.flv"])
def test_no_frames_after_the_end(make_film: Callable[..., Path], name: str) -> None:
    path = make_film(counting_images(50), tone(2.0), name=name)
    assert list(media.frames(path, start=50.0)) == []
    assert len(list(media.frames(path, start=1.5, end=50.0))) == pytest.approx(12, abs=1)


@pytest.mark.parametrize(("max_fps", "n"), [(100, 50), (25, 50), (20, 40), (12.5, 25), (10, 20), (1, 2)])
def test_thinning(film: Path, max_fps: float, n: int) -> None:
    times = [frame.time for frame in media.frames(film, max_fps=max_fps)]
    assert len(times) == n
    assert np.abs(np.diff(times) - 1 / max_fps).max() <= 1 / 25 + 1e-9 or max_fps > 25


def test_variable_frame_rate(make_film: Callable[..., Path]) -> None:
    keep = [0, 1, 2, 10, 11, 30, 31, 32, 33, 49]
    select = "select='" + "+".join(f"eq(n,{n})" for n in keep) + "'"
    path = make_film(counting_images(50), tone(2.0), options=["-vf", select, "-fps_mode", "vfr"])
    found = list(media.frames(path))
    assert np.allclose([frame.time for frame in found], np.array(keep) / 25, atol=1e-3)
    wanted = counting_images(50)[keep].mean(axis=(1, 2, 3))
    assert np.allclose([frame.image.mean() for frame in found], wanted, atol=4)
    thinned = [frame.time for frame in media.frames(path, max_fps=10)]
    assert np.allclose(thinned, [0, 0.4, 1.2, 1.32, 1.96], atol=1e-3)


@pytest.mark.parametrize("mirror", [[], ["-display_hflip"]])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_film_stands_as_ffmpeg_shows_it(
    make_film: Callable[..., Path], tmp_path: Path, turn: int, mirror: list[str]
) -> None:
    images = np.zeros((10, 48, 64, 3), np.uint8)
    images[:, :16, :16] = (255, 0, 0)
    images[:, -16:, -16:] = (0, 0, 255)
    flat = make_film(images, tone(0.4), name="flat.mp4")
    path = tmp_path / "turned.mp4"
    run_ffmpeg("-display_rotation", turn, *mirror, "-i", flat, "-c", "copy", path)
    reference = run_ffmpeg("-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    shape = (64, 48, 3) if turn % 180 else (48, 64, 3)
    info = media.probe(path)
    assert (info.height, info.width) == shape[:2]
    assert mirror or info.rotation == turn
    image = next(media.frames(path)).image
    assert image.shape == shape
    assert image.flags.c_contiguous
    difference = image.astype(int) - np.frombuffer(reference, np.uint8).reshape(shape)
    assert np.abs(difference).mean() < 6
    small = next(media.frames(path, max_height=24)).image
    assert small.shape == ((24, 18, 3) if turn % 180 else (24, 32, 3))


def test_smaller_but_never_larger(film: Path) -> None:
    assert next(media.frames(film, max_height=24)).image.shape == (24, 32, 3)
    assert next(media.frames(film, max_height=480)).image.shape == (48, 64, 3)


@pytest.mark.parametrize("colours", ["yuv420p", "yuvj420p", "yuv422p10le", "yuv444p", "bgr24"])
def test_smaller_frames_keep_their_colours(make_film: Callable[..., Path], colours: str) -> None:
    images = np.zeros((3, 48, 64, 3), np.uint8)
    images[:] = (230, 120, 10)
    images[:, :, 32:] = (10, 60, 250)
    path = make_film(images, name="film.mkv", options=["-c:v", "ffv1", "-pix_fmt", colours])
    for max_height in (None, 20):
        image = next(media.frames(path, max_height=max_height)).image
        assert np.abs(image[:, 3].mean(axis=0) - (230, 120, 10)).max() < 6
        assert np.abs(image[:, -3].mean(axis=0) - (10, 60, 250)).max() < 6


def test_pixels_become_square(make_film: Callable[..., Path]) -> None:
    path = make_film(counting_images(5), options=["-aspect", "8:3"])
    assert next(media.frames(path)).image.shape == (48, 128, 3)
    assert media.probe(path).width == 128


def test_damage_in_the_middle_costs_only_its_frames(make_film: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    path = make_film(rng.integers(0, 255, (100, 48, 64, 3), dtype=np.uint8), name="film.mkv")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    assert 60 < len(list(media.frames(path))) <= 100


@pytest.mark.parametrize("codec", [["libx264", "-bf", "3"], ["mpeg4", "-bf", "2"]])
def test_every_frame_of_an_avi_with_reordered_frames(make_film: Callable[..., Path], codec: list[str]) -> None:
    path = make_film(counting_images(100), tone(4.0), name="film.avi", options=["-c:v", *codec, "-c:a", "pcm_s16le"])
    found = list(media.frames(path))
    brightness = [frame.image.mean() for frame in found]
    assert np.allclose(brightness, counting_images(100).mean(axis=(1, 2, 3)), atol=4)
    assert np.allclose(np.diff([frame.time for frame in found]), 1 / 25)
    assert found[0].time <= 2 / 25
    cut = list(media.frames(path, start=1.7, end=2.9))
    wanted = [frame for frame in found if 1.7 <= frame.time < 2.9]
    assert [frame.time for frame in cut] == [frame.time for frame in wanted]
    assert all((a.image == b.image).all() for a, b in zip(cut, wanted, strict=True))


def test_frames_out_of_order_in_number_are_not_passed_over(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.arange(50) / 25
    times[10:20] -= 0.5
    monkeypatch.setattr(picture, "_timed", lambda pictures, *_: zip(pictures, times, strict=True))
    with pytest.raises(Quarantined, match="10 frames of its video are damaged or out of order"):
        list(media.frames(film))


def test_palette_films_become_smaller(make_film: Callable[..., Path]) -> None:
    images = np.zeros((3, 48, 64, 3), np.uint8)
    images[:] = (230, 120, 10)
    images[:, :, 32:] = (10, 60, 250)
    palette = ["-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none", "-c:v", "rawvideo"]
    path = make_film(images, name="film.avi", options=[*palette, "-pix_fmt", "pal8"])
    for max_height in (None, 20):
        image = next(media.frames(path, max_height=max_height)).image
        assert len(image) == (max_height or 48)
        assert np.abs(image[:, 3].mean(axis=0) - (230, 120, 10)).max() < 6
        assert np.abs(image[:, -3].mean(axis=0) - (10, 60, 250)).max() < 6


def test_frames_that_would_fill_the_memory_are_refused(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MAX_PIXELS", 1000)
    with pytest.raises(Quarantined, match=r"too large \(64 x 48 px\)"):
        next(media.frames(film))
