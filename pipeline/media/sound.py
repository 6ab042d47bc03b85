"""Samples of a media file, through a real ffmpeg, in step with the picture."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Quarantined, Transient
from pipeline.media.files import FORMATS, PROTOCOLS, ffmpeg_exe, open_media, url
from pipeline.media.info import MediaInfo, check_reached, describe, states_length

_PREROLL = 1.0  # s decoded before a cut and thrown away: codecs and the resampler must have settled


def decode_audio(
    path: str | Path, *, start: float = 0.0, end: float | None = None, sample_rate: int = 16000, timeout: float = 600.0
) -> NDArray[np.float32]:
    """Return the sound between two times as mono samples, shape (n,), full scale +-1.

    Timestamps are honoured: sound that begins late is preceded by silence and gaps are filled, so that sample i
    is at ``start + i / sample_rate`` on the clock of :func:`pipeline.media.frames`. Channels are averaged.

    Args:
        path: a local media file.
        start: s from the container's start.
        end: s; None: to the end of the sound. Sound that ends earlier gives a shorter result, not silence.
        sample_rate: Hz.
        timeout: s after which decoding is given up.

    Raises:
        Quarantined: there is no sound there, it cannot be decoded, or it stops well before the stated length.
    """
    blocks = list(audio_blocks(path, start=start, end=end, sample_rate=sample_rate, timeout=timeout))
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def audio_blocks(
    path: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    sample_rate: int = 16000,
    timeout: float = 600.0,
    block: int = 1 << 20,
) -> Iterator[NDArray[np.float32]]:
    """Yield what :func:`decode_audio` returns in blocks of ``block`` samples (the last one is shorter)."""
    with open_media(path) as container:
        info = describe(container)
    if not info.has_audio:
        raise Quarantined("has no audio stream")
    if start < 0 or (end is not None and end <= start):
        raise Quarantined(f"the stretch from {start:g} s to {end:g} s is empty")
    first = round(start * sample_rate)
    wanted = None if end is None else max(1, round(end * sample_rate) - first)
    # From a whole second on: there source and result have a sample each, so a cut equals that part of the whole.
    seek = max(0, math.floor(start - _PREROLL))
    reader = _Reader(path, info, sample_rate, seek=seek, timeout=timeout)
    got = 0
    for samples in reader.read(skip=first - seek * sample_rate, wanted=wanted, block=block):
        got += len(samples)
        yield samples
    if states_length(info) and info.audio_end is not None:
        check_reached("the sound", (first + got) / sample_rate, min(info.audio_end, end or info.audio_end))
    if not got:
        raise Quarantined(f"has no sound after {start:g} s")


@dataclass(frozen=True)
class _Reader:
    """One ffmpeg process that writes mono float32 samples from ``seek`` seconds on."""

    path: str | Path
    info: MediaInfo
    sample_rate: int
    seek: int
    timeout: float

    def command(self) -> list[str]:
        import ffmpeg

        options = {
            "nostdin": None,
            "threads": 1,
            "protocol_whitelist": PROTOCOLS,
            "format_whitelist": FORMATS,
            # Else ffmpeg moves the first sound to 0 in mpeg files, where it may begin after the picture.
            "copyts": None,
        }
        if self.seek > 0:
            options |= {"ss": self.seek, "noaccurate_seek": None}
        sound = (
            ffmpeg.input(url(self.path), **options)[str(self.info.audio_index)]
            .filter("asetpts", f"PTS-{self.info.origin + self.seek:.6f}/TB")
            .filter("atrim", start=0)
            # rematrix_maxval: the mean of the channels, where float formats would get a louder sum.
            .filter("aresample", self.sample_rate, **{"async": 1, "first_pts": 0, "rematrix_maxval": 1})
            .filter("aformat", sample_fmts="flt", channel_layouts="mono")
        )
        return sound.output("pipe:1", format="f32le", threads=1, loglevel="error").compile(cmd=ffmpeg_exe())

    def read(self, *, skip: int, wanted: int | None, block: int) -> Iterator[NDArray[np.float32]]:
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            ) as process,
        ):
            overdue = threading.Event()

            def give_up() -> None:
                overdue.set()
                process.kill()

            watchdog = threading.Timer(self.timeout, give_up)
            watchdog.start()
            try:
                assert process.stdout is not None
                process.stdout.read(4 * skip)
                left = wanted
                while left is None or left > 0:
                    data = process.stdout.read(4 * (block if left is None else min(block, left)))
                    samples = np.frombuffer(data[: len(data) // 4 * 4], dtype="<f4")
                    if not len(samples):
                        break
                    left = None if left is None else left - len(samples)
                    yield samples
                failed = left != 0 and process.wait() != 0  # with all that is wanted, how it ends is no matter
            finally:
                watchdog.cancel()
                process.kill()
            if overdue.is_set():
                raise Transient(f"decoding its sound took longer than {self.timeout:g} s")
            if failed and process.returncode in (-signal.SIGKILL, -signal.SIGTERM):
                raise Transient("ffmpeg was killed while it decoded its sound (out of memory?)")
            if failed:
                errors.seek(0)
                raise Quarantined(f"its sound cannot be decoded ({_last_line(errors.read())})")


def _last_line(stderr: bytes) -> str:
    """Return ffmpeg's last message without memory addresses and paths, which differ from run to run."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "ffmpeg gives no reason"
    return re.sub(r"file:\S+: ", "", re.sub(r"\[[^\]]*\] *", "", lines[-1]))
