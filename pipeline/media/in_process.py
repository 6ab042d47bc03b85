"""Samples of usual files, decoded in this process: the same numbers as from ffmpeg as a child, without its start.

What FFmpeg's libraries leave to the program around them is done here as the ``ffmpeg`` of release 9 does it: the clock
of decoded frames (`FrameClock`) and the end of sound in MP4 (`_without_padding`). Whatever is not usual raises
:class:`Unusual`, and the child takes over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Quarantined
from pipeline.media.extent import JOINED, PacketClock
from pipeline.media.files import mp4_boxes
from pipeline.media.graph import Filter, SoundGraph
from pipeline.media.info import MediaInfo, audio_stream, media_path

# Decoders and demuxers that nearly every corpus is read with. Others run in the child, which may crash or ask for all
# memory without harm. tests/pipeline/media/test_in_process.py compares these with the child.
_CODECS = frozenset({
    "aac", "alac", "flac", "mp2", "mp2float", "mp3", "mp3float", "opus", "vorbis", "pcm_u8", "pcm_s16le", "pcm_s16be",
    "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_mulaw", "pcm_alaw",
})  # fmt: skip
_CONTAINERS = frozenset({"mov", "matroska", "avi", "flv", "mpeg", "mpegts", "mp3", "wav", "flac", "ogg", "aac"})
# What a stream says of its channels, and what ffmpeg takes it for.
_LAYOUTS = {"mono": "mono", "1 channels": "mono", "stereo": "stereo", "2 channels": "stereo"}
_PADDED = frozenset({"aac", "mp3", "mp3float"})  # whose frames are all of one length
_RATES = range(4000, 192_001)  # Hz
_BATCH = 64  # frames that wait in the graph at most
_REORDERING = 3_000_000 // 23  # us; ffmpeg seeks so much earlier where decoding times are not those of display


class Unusual(Exception):
    """The child must decode this file, or the rest of it."""


def is_usual(container: Any, info: MediaInfo) -> bool:
    """Tell whether an open file is of a kind that is decoded in this process."""
    stream = audio_stream(container)
    return (
        stream is not None
        and stream.codec_context.name in _CODECS
        and not _CONTAINERS.isdisjoint(info.format.split(","))
        and info.layout in _LAYOUTS
        and info.sample_rate in _RATES
    )


def samples_in_process(
    container: Any, info: MediaInfo, graph: SoundGraph, *, end: float | None, wanted: int | None
) -> Iterator[NDArray[np.float32]]:
    """Yield (n, columns) samples from ``graph.seek`` s on.

    The clock of the packets up to ``end`` is checked on the way, as `pipeline.media.extent.walk` does it.

    Args:
        container: open and not yet read from.
        info: what `pipeline.media.info.describe` says of it.
        graph: what to do to the sound.
        end: s from the container's start; None: to the end of the sound.
        wanted: how many samples; None: all. There may be fewer.

    Raises:
        Quarantined: the clock starts anew or leaps.
        Unusual: something that only the child can or should judge, such as damage.
    """
    import av

    try:
        stream = audio_stream(container)
        _prepare(container, stream, info, graph.seek)
        clock = PacketClock([stream], info.origin, start=float(graph.seek))
        packets = _checked(container.demux(stream), clock, end)
        frames = _frames(packets, stream, padded=_is_padded(container, stream, info))
        left = wanted
        # No pull before enough is in: what the graph has taken in is never less than what it has given.
        enough = None if wanted is None else info.origin + graph.seek + wanted / graph.sample_rate
        for samples in _filtered(frames, graph, info, enough):
            yield samples[:left]
            left = None if left is None else max(0, left - len(samples))
            if left == 0:
                break
        while end is not None and not clock.passed and next(packets, None) is not None:
            pass  # enough is decoded, but the clock must run through to the end of the stretch
    except av.FFmpegError as error:
        raise Unusual(str(error)) from error


def _prepare(container: Any, stream: Any, info: MediaInfo, seek: int) -> None:
    import av
    from av.format import Flags
    from av.stream import Discard

    stream.codec_context.thread_count = 1
    if seek > 0:
        target = round((seek + info.origin) * 1e6)
        reordered = any(getattr(film.codec_context, "has_b_frames", False) for film in container.streams.video)
        if reordered and not container.format.flags & Flags.seek_to_pts.value:
            target -= _REORDERING
        with suppress(av.FFmpegError):  # read from the beginning instead
            container.seek(target)
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def _checked(packets: Iterator[Any], clock: PacketClock, end: float | None) -> Iterator[Any]:
    """Yield packets; those up to ``end`` keep to the clock."""
    for packet in packets:
        if packet.is_corrupt:
            raise Unusual("a damaged packet")
        if not clock.passed:
            clock(packet, end)
        yield packet


def _is_padded(container: Any, stream: Any, info: MediaInfo) -> bool:
    """Tell whether ffmpeg cuts off what an MP4 file holds after the end that its index states."""
    return (
        "mov" in info.format.split(",")
        and stream.codec_context.name in _PADDED
        and not stream.start_time  # late sound is shifted by an edit list, which then says nothing of the end
        and b"moof" not in mp4_boxes(media_path(container))
    )


def _frames(packets: Iterator[Any], stream: Any, *, padded: bool) -> Iterator[Any]:
    """Yield decoded frames whose times count samples."""
    clock = FrameClock(stream.codec_context.sample_rate)
    frames = _without_padding(packets, stream) if padded else (frame for p in packets for frame in p.decode())
    for frame in frames:
        if frame.is_corrupt:
            raise Unusual("a damaged frame")
        frame.pts = clock(frame.pts, frame.time_base, frame.samples)
        yield frame


def _without_padding(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Yield frames without what the encoder filled the last one up with.

    From release 9 on FFmpeg's demuxer says where that begins; for the libraries of releases before it is done here.
    """
    limit = None if not stream.duration else (stream.start_time or 0) + stream.duration
    ahead = next(packets, None)
    while ahead is not None:
        packet, ahead = ahead, next(packets, None)
        if (ahead is None or not ahead.size) and packet.pts is not None and packet.duration:
            after = packet.pts + packet.duration
            limit = after if limit is None else min(limit, after)
        for frame in packet.decode():
            if limit is None or frame.pts is None:
                yield frame
                continue
            kept = round((limit - frame.pts) * frame.time_base * frame.sample_rate)
            if kept >= frame.samples:
                yield frame
            elif kept > 0:
                yield _shortened(frame, kept)


def _shortened(frame: Any, samples: int) -> Any:
    import av

    width = samples if frame.format.is_planar else samples * frame.layout.nb_channels
    kept = np.ascontiguousarray(frame.to_ndarray()[:, :width])
    short = av.AudioFrame.from_ndarray(kept, format=frame.format.name, layout=frame.layout.name)
    short.sample_rate, short.pts, short.time_base = frame.sample_rate, frame.pts, frame.time_base
    return short


class FrameClock:
    """When a decoded frame begins, in samples: rounded times of containers must not tear frames apart.

    It is the rule of ``ffmpeg`` (its function ``audio_ts_process``) with ``av_rescale_delta`` of libavutil: a frame
    follows the one before without a gap as long as that is within what its own, rounded time can mean.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.due: int | None = None  # where the frame before ends by the samples counted; None: count anew
        self.after: int | None = None  # where it ends by the time it was given

    def __call__(self, pts: int | None, base: Fraction, samples: int) -> int:
        """Return the time of a frame of so many samples that begins at ``pts`` (in ``base`` s; None: unknown)."""
        unit = base * self.rate  # in samples
        if pts is None:
            pts, unit = self.after or 0, Fraction(1)
        elif self.after is not None and pts > -((-self.after * unit.denominator) // unit.numerator):
            self.due = None  # a gap
        time = self._rescaled(pts, unit, samples)
        self.after = time + samples
        return time

    def _rescaled(self, pts: int, unit: Fraction, samples: int) -> int:
        nearest = _rounded(pts * unit)
        if self.due is None or not samples or unit <= 1:
            self.due = nearest + samples
            return nearest
        low = ((2 * pts - 1) * unit.numerator // unit.denominator) >> 1
        high = (-(-(2 * pts + 1) * unit.numerator // unit.denominator) + 1) >> 1
        if not 2 * low - high <= self.due <= 2 * high - low:
            self.due = nearest + samples
            return nearest
        time = min(max(self.due, low), high)
        self.due = time + samples
        return time


def _rounded(value: Fraction) -> int:
    """Round halves away from zero, as libavutil does."""
    size = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return size if value >= 0 else -size


def _filtered(
    frames: Iterator[Any], graph: SoundGraph, info: MediaInfo, enough: float | None
) -> Iterator[NDArray[Any]]:
    """Yield (n, columns) samples; the graph is asked when some frames wait in it, or when they reach ``enough`` s."""
    layout, rate, origin = _LAYOUTS[str(info.layout)], info.sample_rate or 0, info.origin
    built: Any = None  # kept here: its filters do not keep it, and crash without it
    source: Any = None
    sink: Any = None
    kind = None
    waiting = 0
    for frame in frames:
        if frame.sample_rate != rate:
            if built is None:  # what is wanted lies after a change: the child, which trusts no stated rate, is right
                raise Unusual("the sample rate is not the stated one")
            raise Quarantined(
                f"the sample rate of its sound changes from {rate} to {frame.sample_rate} Hz after "
                f"{frame.pts / rate - origin:.2f} s: {JOINED}"
            )
        if built is None:
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            built, source, sink = _built(graph, frame, layout)
        if (frame.format.name, frame.layout.name, frame.sample_rate) != kind:
            raise Unusual("the format changes")
        source.push(frame)
        waiting += 1
        if waiting >= _BATCH or (enough is not None and frame.pts >= enough * frame.sample_rate):
            waiting = 0
            yield from _pulled(sink, graph.columns)
    if built is not None:
        source.push(None)
        yield from _pulled(sink, graph.columns)


def _built(graph: SoundGraph, frame: Any, layout: str) -> tuple[Any, Any, Any]:
    """Return the filters for frames like this one, which must be kept, their source and their sink."""
    import av

    built = av.filter.Graph()

    def chain(first: Any, filters: tuple[Filter, ...], output: int = 0) -> Any:
        for name, options in filters:
            node = built.add(name, **{key: str(value) for key, value in options.items()})
            first.link_to(node, output)
            first, output = node, 0
        return first

    rate = frame.sample_rate
    source = built.add(
        "abuffer", sample_rate=str(rate), sample_fmt=frame.format.name, channel_layout=layout, time_base=f"1/{rate}"
    )
    end = chain(source, graph.clock)
    if len(graph.branches) == 1:
        end = chain(end, graph.branches[0])
    else:
        split, merged = chain(end, (("asplit", {"outputs": 2}),)), built.add("amerge")
        for number, branch in enumerate(graph.branches):
            chain(split, branch, number).link_to(merged, 0, number)
        end = merged
    sink = chain(end, (("abuffersink", {}),))
    built.configure()
    return built, source, sink


def _pulled(sink: Any, columns: int) -> Iterator[NDArray[np.float32]]:
    import av

    with suppress(av.BlockingIOError, av.EOFError):  # it needs more; it has ended
        while True:
            yield sink.pull().to_ndarray().reshape(-1, columns)
