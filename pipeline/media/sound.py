"""Samples of a media file, through a real ffmpeg, in step with the picture."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Quarantined
from pipeline.media import files
from pipeline.media.child import check_ended_by_itself, output_of
from pipeline.media.extent import walk
from pipeline.media.files import FORMATS, PROTOCOLS, ffmpeg_exe, open_media, url
from pipeline.media.info import MediaInfo, audio_stream, check_reached, describe

_PREROLL = 1.0  # s decoded before a cut and thrown away: codecs and the resampler must have settled
_MOST_NAMED = 8  # channels; ffmpeg knows where the speakers of more are in few layouts only
# Share of the power expected of the mean of n unrelated channels, 1/n of a channel's. Below it they cancel out.
_CANCELLED = 0.3


def decode_audio(
    path: str | Path, *, start: float = 0.0, end: float | None = None, sample_rate: int = 16000
) -> NDArray[np.float32]:
    """Return the sound between two times as mono samples, shape (n,), full scale +-1.

    Timestamps are honoured: sound that begins late is preceded by silence and gaps are filled, so that sample i
    is at ``start + i / sample_rate`` on the clock of :func:`pipeline.media.frames`. Channels are averaged, but where
    that would cancel the sound (a channel wired upside down) the first one is taken.

    Args:
        path: a local media file.
        start: s from the container's start.
        end: s; None: to the end of the sound. Sound that ends earlier gives a shorter result, not silence.
        sample_rate: Hz.

    Raises:
        Quarantined: there is no sound there, it cannot be decoded, its clock starts anew or leaps, or it stops well
            before the stated length.
        Transient: ffmpeg was killed from outside.
    """
    blocks = list(audio_blocks(path, start=start, end=end, sample_rate=sample_rate))
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def audio_blocks(
    path: str | Path, *, start: float = 0.0, end: float | None = None, sample_rate: int = 16000, block: int = 1 << 20
) -> Iterator[NDArray[np.float32]]:
    """Yield what :func:`decode_audio` returns in blocks of ``block`` samples (the last one is shorter).

    Whether channels cancel out is judged by all that has been read so far.
    """
    # From a whole second on: there source and result have a sample each, so a cut equals that part of the whole.
    seek = max(0, math.floor(start - _PREROLL))
    with open_media(path) as container:
        info = describe(container)
        if not info.has_audio:
            raise Quarantined("has no audio stream")
        if start < 0 or (end is not None and end <= start):
            raise Quarantined(f"the stretch from {start:g} s to {end:g} s is empty")
        _check_clock(container, info, seek, end)
    first = round(start * sample_rate)
    wanted = None if end is None else max(1, round(end * sample_rate) - first)
    got, mix = 0, _Mix(info)
    reader = _Reader(path, info, sample_rate, seek=seek)
    for samples in reader.read(skip=first - seek * sample_rate, wanted=wanted, block=block):
        got += len(samples)
        yield mix(samples)
    if info.audio_end is not None:
        check_reached("the sound", (first + got) / sample_rate, min(info.audio_end, end or info.audio_end))
    if not got:
        raise Quarantined(f"has no sound after {start:g} s")


def _check_clock(container: Any, info: MediaInfo, seek: int, end: float | None) -> None:
    """Refuse sound whose gaps ffmpeg would fill with more silence than the memory holds, or pass over."""
    import av

    if seek > 0:
        with suppress(av.FFmpegError):  # read from the beginning instead
            container.seek(int((seek + info.origin) * 1e6))
    walk(container, [audio_stream(container)], info.origin, start=float(seek), end=end)


class _Mix:
    """The mean of all channels, or the first where they cancel out, from what :class:`_Reader` gives."""

    def __init__(self, info: MediaInfo) -> None:
        self.channels = info.channels or 1
        self.stereo = _is_stereo(info)
        self.mean = self.rest = 0.0  # powers, of the mean and of what the first channel has besides

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (n,) from (n, 1), from both channels (n, 2), or from (first channel, mean of all) (n, 2)."""
        if samples.shape[1] == 1:
            return samples[:, 0]
        first, mean = np.ascontiguousarray(samples.T)
        if self.stereo:
            mean = (first + mean) / 2
        self.mean += float(mean @ mean)
        rest = first - mean
        self.rest += float(rest @ rest)
        cancelled = self.channels * self.mean < _CANCELLED * (self.mean + self.rest)
        return first if cancelled else mean


def _is_stereo(info: MediaInfo) -> bool:
    return info.channels == 2 and info.layout == "stereo"


@dataclass(frozen=True)
class _Reader:
    """One ffmpeg process that writes float32 samples from ``seek`` seconds on, in the columns that `_Mix` takes."""

    path: str | Path
    info: MediaInfo
    sample_rate: int
    seek: int

    @property
    def columns(self) -> int:
        return 1 if self.info.channels == 1 else 2

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
        )
        sound = self._mixed(sound)
        return sound.output("pipe:1", format="f32le", threads=1, loglevel="error").compile(cmd=ffmpeg_exe())

    def _mixed(self, sound: Any) -> Any:
        import ffmpeg

        channels = self.info.channels or 1
        if channels == 1:
            return self._resampled(sound, "mono")
        if _is_stereo(self.info):  # the usual case; a graph with two branches takes 2 ms more
            return self._resampled(sound, "stereo")
        if channels > _MOST_NAMED or "ambisonic" in (self.info.layout or ""):
            mean = "+".join(f"{1 / channels:.9f}*c{channel}" for channel in range(channels))
            return self._resampled(sound.filter("pan", args=f"stereo|c0=c0|c1={mean}"), "stereo")
        both = sound.asplit()
        first = self._resampled(both[0].filter("pan", args="mono|c0=c0"), "mono")
        return ffmpeg.filter([first, self._resampled(both[1], "mono")], "amerge")

    def _resampled(self, sound: Any, layout: str) -> Any:
        # rematrix_maxval: the mean of the channels, where float formats would get a louder sum.
        return sound.filter("aresample", self.sample_rate, **{"async": 1, "first_pts": 0, "rematrix_maxval": 1}).filter(
            "aformat", sample_fmts="flt", channel_layouts=layout
        )

    def read(self, *, skip: int, wanted: int | None, block: int) -> Iterator[NDArray[np.float32]]:
        """Yield (n, columns) samples."""
        width = 4 * self.columns
        with tempfile.TemporaryFile() as errors, output_of(self.command(), stderr=errors) as process:
            assert process.stdout is not None
            process.stdout.read(width * skip)
            left = wanted
            while left is None or left > 0:
                data = process.stdout.read(width * (block if left is None else min(block, left)))
                samples = np.frombuffer(data[: len(data) // width * width], dtype="<f4").reshape(-1, self.columns)
                if not len(samples):
                    break
                left = None if left is None else left - len(samples)
                yield samples
            code = 0 if left == 0 else process.wait()  # with all that is wanted, how it ends is no matter
            if code:
                check_ended_by_itself(code)
                files.check_file(self.path)  # which may have gone meanwhile
                errors.seek(0)
                raise Quarantined(f"its sound cannot be decoded ({_last_line(errors.read())})")


def _last_line(stderr: bytes) -> str:
    """Return ffmpeg's last message without memory addresses and paths, which differ from run to run."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "ffmpeg gives no reason"
    return re.sub(r"file:\S+: ", "", re.sub(r"\[[^\]]*\] *", "", lines[-1]))
