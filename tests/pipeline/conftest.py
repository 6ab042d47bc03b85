"""Tiny media files, made on the spot with the bundled ffmpeg."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from tests import SHARED

RATE = 44100


def run_ffmpeg(*arguments: str | Path, data: bytes | None = None) -> bytes:
    """Run the bundled ffmpeg, whose version is known, whatever the tests make the pipeline use."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def tone(seconds: float, *, rate: int = RATE, hertz: float = 220.0, level: float = 0.5) -> np.ndarray:
    """Return a sine, float64 (n,)."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def speech_like(pattern: Sequence[tuple[float, bool]], *, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Return sound that is a buzz with a wandering level where the pattern says True, and faint noise elsewhere."""
    rng = np.random.default_rng(seed)
    parts = []
    for seconds, spoken in pattern:
        n = round(seconds * rate)
        time = np.arange(n) / rate
        buzz = np.sign(np.sin(2 * np.pi * 140 * time)) * (0.2 + 0.1 * np.sin(2 * np.pi * 3 * time))
        parts.append((buzz if spoken else 0.0) + rng.normal(0, 1e-3, n))
    return np.concatenate(parts)


@pytest.fixture
def shared_data() -> Path:
    """Real clips beside the repository; tests that need them are skipped elsewhere."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no folder of real clips (../shared/data)")
    return SHARED / "data"


@pytest.fixture
def make_sound(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes samples, (n,) or (n, channels), to a sound file and returns its path."""

    def make(samples: np.ndarray, *, rate: int = 16000, name: str = "sound.wav") -> Path:
        path = tmp_path / name
        soundfile.write(path, samples, rate, subtype="PCM_16")
        return path

    return make


@pytest.fixture
def make_film(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that encodes images (n, h, w, 3) and sound to a film and returns its path.

    ``before_video`` and ``before_sound`` are ffmpeg input options (``-itsoffset``), ``options`` output options.
    """

    def make(
        images: np.ndarray | None = None,
        samples: np.ndarray | None = None,
        *,
        name: str = "film.mp4",
        fps: float = 25,
        rate: int = RATE,
        before_video: Sequence[str] = (),
        before_sound: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> Path:
        path = tmp_path / name
        arguments: list[str | Path] = []
        if images is not None:
            height, width = images.shape[1:3]
            arguments += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-framerate", str(fps)]
            arguments += [*before_video, "-i", "-"]
        if samples is not None:
            sound = tmp_path / "sound-of-film.wav"
            soundfile.write(sound, samples, rate, subtype="PCM_16")
            arguments += [*before_sound, "-i", sound]
        if images is not None and path.suffix not in (".mpg", ".flv"):
            arguments += ["-pix_fmt", "yuv420p", "-g", "12"]
        run_ffmpeg(*arguments, *options, path, data=None if images is None else images.tobytes())
        return path

    return make


def counting_images(n: int, *, height: int = 48, width: int = 64) -> np.ndarray:
    """Return n grey images whose brightness tells their number, uint8 (n, height, width, 3)."""
    # Some texture, or encoders take every image for a new scene.
    texture = np.random.default_rng(0).integers(0, 40, (height, width, 1))
    grey = np.linspace(10, 210, n)[:, None, None, None] + texture
    return np.repeat(grey, 3, axis=3).astype(np.uint8)


@pytest.fixture
def film(make_film: Callable[..., Path]) -> Path:
    """Two seconds at 25 fps, 64x48, with a tone in stereo at 44.1 kHz, as MP4."""
    sound = tone(2.0)
    return make_film(counting_images(50), np.stack([sound, sound], axis=1), options=["-movflags", "+faststart"])
