"""Samples of a media file in step with the picture: usual files in this process, others through ffmpeg as a child."""

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
from pipeline.media.files import FORMATS, PROTOCOLS, decodes_all, ffmpeg_exe, open_media, url
from pipeline.media.graph import Filter, SoundGraph, is_stereo, sound_graph
from pipeline.media.in_process import Unusual, is_usual, samples_in_process
from pipeline.media.info import MediaInfo, audio_stream, check_reached, describe

_PREROLL = 1.0  # s decoded before a cut and thrown away: codecs and the resampler must have settled
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
    first = round(start * sample_rate)
    wanted = None if end is None else max(1, round(end * sample_rate) - first)
    skip, got, mix = first - seek * sample_rate, 0, None
    with open_media(path) as container:
        info = describe(container)
        if not info.has_audio:
            raise Quarantined("has no audio stream")
        if start < 0 or (end is not None and end <= start):
            raise Quarantined(f"the stretch from {start:g} s to {end:g} s is empty")
        graph, mix = sound_graph(info, sample_rate=sample_rate, seek=seek), _Mix(info)
        done = False
        if not decodes_all() and is_usual(container, info):
            count = None if wanted is None else skip + wanted
            with suppress(Unusual):
                for samples in _in_blocks(
                    samples_in_process(container, info, graph, end=end, wanted=count), skip, block
                ):
                    got += len(samples)
                    yield mix(samples)
                done = True
    if not done:
        with open_media(path) as container:
            _check_clock(container, info, seek, end)
        left = None if wanted is None else wanted - got
        for samples in _Reader(path, info, graph).read(skip=skip + got, wanted=left, block=block):
            got += len(samples)
            yield mix(samples)
    if info.audio_end is not None:
        check_reached("the sound", (first + got) / sample_rate, min(info.audio_end, end or info.audio_end))
    if not got:
        raise Quarantined(f"has no sound after {start:g} s")


def _in_blocks(pieces: Iterator[NDArray[np.float32]], skip: int, block: int) -> Iterator[NDArray[np.float32]]:
    """Yield (n, columns) samples without the first ``skip``, in blocks of ``block``; the last one is shorter."""
    held: list[NDArray[np.float32]] = []
    n_held = 0
    for piece in pieces:
        skipped = min(skip, len(piece))
        skip -= skipped
        if skipped < len(piece):
            held.append(piece[skipped:])
            n_held += len(piece) - skipped
        if n_held >= block:
            together = np.concatenate(held)
            for start in range(0, n_held - n_held % block, block):
                yield together[start : start + block]
            n_held %= block
            held = [together[len(together) - n_held :]] if n_held else []
    if held:
        yield np.concatenate(held)


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
        self.stereo = is_stereo(info)
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


@dataclass(frozen=True)
class _Reader:
    """One ffmpeg process that writes the float32 samples of a `SoundGraph`."""

    path: str | Path
    info: MediaInfo
    graph: SoundGraph

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
        if self.graph.seek > 0:
            options |= {"ss": self.graph.seek, "noaccurate_seek": None}
        source = ffmpeg.input(url(self.path), **options)[str(self.info.audio_index)]
        sound = _chained(source, self.graph.clock)
        if len(self.graph.branches) == 1:
            sound = _chained(sound, self.graph.branches[0])
        else:
            split = sound.asplit()
            ends = [_chained(split[number], branch) for number, branch in enumerate(self.graph.branches)]
            sound = ffmpeg.filter(ends, "amerge")
        return sound.output("pipe:1", format="f32le", threads=1, loglevel="error").compile(cmd=ffmpeg_exe())

    def read(self, *, skip: int, wanted: int | None, block: int) -> Iterator[NDArray[np.float32]]:
        """Yield (n, columns) samples."""
        width = 4 * self.graph.columns
        with tempfile.TemporaryFile() as errors, output_of(self.command(), stderr=errors) as process:
            assert process.stdout is not None
            process.stdout.read(width * skip)
            left = wanted
            while left is None or left > 0:
                data = process.stdout.read(width * (block if left is None else min(block, left)))
                samples = np.frombuffer(data[: len(data) // width * width], dtype="<f4").reshape(-1, self.graph.columns)
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


def _chained(sound: Any, filters: tuple[Filter, ...]) -> Any:
    for name, options in filters:
        sound = sound.filter(name, **options)
    return sound


def _last_line(stderr: bytes) -> str:
    """Return ffmpeg's last message without memory addresses and paths, which differ from run to run."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "ffmpeg gives no reason"
    return re.sub(r"file:\S+: ", "", re.sub(r"\[[^\]]*\] *", "", lines[-1]))
