"""What a media file holds: streams, lengths, rotation, and whether all of it is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import Quarantined
from pipeline.media.extent import check_single, walk
from pipeline.media.files import mp4_boxes, open_media

# Containers whose header may state the length; elsewhere it is a guess from the bit rate or the last packet.
_STATED_LENGTH = {"mov", "matroska", "avi", "flv", "wav", "w64", "flac", "asf", "aiff", "caf", "au"}
_CLOSE = 0.1  # s; lengths that differ less are the same, as codec delays and last packets are counted or not


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds; seconds count from the container's start.

    ``duration`` is what the file states, or where its packets end (``reached``; only :func:`probe` knows) if it
    states nothing or too little. ``width`` and ``height`` are as displayed (pixel shape and rotation applied);
    ``rotation`` is what the file asks for, in degrees counterclockwise (0, 90, 180, 270), mirroring besides. Values
    are None where there is no such stream, and ends also where the file does not state them.
    """

    format: str
    duration: float
    states_length: bool
    has_audio: bool
    has_video: bool
    sample_rate: int | None
    channels: int | None
    layout: str | None
    fps: float | None
    width: int | None
    height: int | None
    rotation: int
    audio_index: int | None
    video_index: int | None
    origin: float  # where the container starts on its own clock
    audio_start: float | None
    audio_end: float | None
    video_end: float | None
    reached: float | None = None


def probe(path: str | Path) -> MediaInfo:
    """Return what a media file holds; cover pictures do not count as video.

    Raises:
        Quarantined: the file is missing, empty, a folder, a Git-LFS pointer, text, a playlist, cut off, or
            holds neither sound nor video, or its clock starts anew or leaps.
    """
    with open_media(path) as container:
        check_single(path)
        info = describe(container)
        if info.has_video:
            rotation, width, height = _first_frame(container)
            info = replace(info, rotation=rotation, width=width, height=height)
    with open_media(path) as container:
        streams = [stream for stream in (audio_stream(container), video_stream(container)) if stream is not None]
        reached = walk(container, streams, info.origin)
    return replace(info, duration=_length(info, reached), reached=reached)


def _length(info: MediaInfo, reached: float) -> float:
    """Return the length (s) that the file states, where the packets bear it out; else where they end."""
    stated = info.duration
    if info.origin > _CLOSE and abs(stated - info.origin - reached) <= _slack(stated) < stated - reached:
        stated -= info.origin  # a piece of a recording, which states where it ends on the clock of the whole
    if abs(stated - reached) <= _CLOSE:
        return max(stated, reached) if _STATED_LENGTH.isdisjoint(info.format.split(",")) else stated
    return max(stated, reached) if info.states_length else reached


def describe(container: Any) -> MediaInfo:
    """Return what the headers of an open container say (rotation is only known from a frame on: 0 here)."""
    audio, video = audio_stream(container), video_stream(container)
    if audio is None and video is None:
        raise Quarantined("holds neither sound nor video")
    origin = (container.start_time or 0) / 1e6
    ends = [None if stream is None else _end(stream, origin) for stream in (audio, video)]
    stated = container.duration / 1e6 if container.duration else max(end or 0.0 for end in ends)
    states_length = _states_length(container, [stream for stream in (audio, video) if stream is not None], stated)
    # A piece of a stream states how long all of it is.
    if not states_length or (origin > _CLOSE and b"moof" in mp4_boxes(media_path(container))):
        ends = [None, None]
    return MediaInfo(
        format=container.format.name,
        duration=stated,
        states_length=states_length,
        has_audio=audio is not None,
        has_video=video is not None,
        sample_rate=audio.codec_context.sample_rate if audio else None,
        channels=audio.codec_context.layout.nb_channels if audio else None,
        layout=audio.codec_context.layout.name if audio else None,
        fps=float(video.average_rate or video.guessed_rate or 0) or None if video else None,
        width=video.width if video else None,
        height=video.height if video else None,
        rotation=0,
        audio_index=audio.index if audio else None,
        video_index=video.index if video else None,
        origin=origin,
        audio_start=seconds(audio, audio.start_time) - origin if audio else None,
        audio_end=ends[0],
        video_end=ends[1],
    )


def media_path(container: Any) -> Path:
    """Return the path of an open container."""
    return Path(container.name.removeprefix("file:"))


def audio_stream(container: Any) -> Any:
    """Return the sound to use: the default stream, else the first; None if there is none that can be decoded."""
    from av.stream import Disposition

    found = [stream for stream in container.streams.audio if stream.codec_context is not None]
    return next((s for s in found if s.disposition & Disposition.default), found[0] if found else None)


def video_stream(container: Any) -> Any:
    """Return the film: the largest video stream that is no cover picture; None if there is none."""
    from av.stream import Disposition

    found = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]
    return max(found, key=lambda stream: stream.width * stream.height, default=None)


def seconds(stream: Any, timestamp: int | None) -> float:
    """Return a stream's timestamp in seconds on the container's own clock."""
    return float((timestamp or 0) * stream.time_base)


def _end(stream: Any, origin: float) -> float | None:
    if not stream.duration:
        return None
    return seconds(stream, (stream.start_time or 0) + stream.duration) - origin


def display_size(width: int, height: int, aspect: Any) -> tuple[int, int]:
    """Return the size of a frame with square pixels (DV, DVD and some phone film has others)."""
    ratio = float(aspect or 1)
    if not 0.25 < ratio < 4:  # nonsense in the header
        ratio = 1.0
    return round(width * ratio), height


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Return how a decoded frame must be changed to stand as ffmpeg shows it: transposed, then flipped in x, in y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    # A point (x, y) of the frame is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def _first_frame(container: Any) -> tuple[int, int, int]:
    """Return rotation, width and height as displayed."""
    import av

    stream = video_stream(container)
    stream.codec_context.thread_count = 1
    try:
        frame = next(container.decode(stream))
    except (StopIteration, av.FFmpegError) as error:
        raise Quarantined("its video cannot be decoded: cut off or damaged; copy or download it again") from error
    width, height = display_size(frame.width, frame.height, stream.sample_aspect_ratio)
    turns = round(frame.rotation / 90) % 4
    return (90 * turns, height, width) if orientation(frame)[0] else (90 * turns, width, height)


def check_complete(path: str | Path, info: MediaInfo) -> None:
    """Refuse a file that ends well before the length its header states.

    Args:
        path: of the file.
        info: what :func:`probe` says of it.

    Raises:
        Quarantined: it was cut off while it was recorded or copied.
    """
    if info.states_length:
        # libav goes by what is there of a WAV or AVI file.
        excess = (_riff_size(path) or 0) / Path(path).stat().st_size
        check_reached("the file", info.reached or 0.0, info.duration * max(1.0, excess))


def _riff_size(path: str | Path) -> int | None:
    """Return how many bytes a WAV or AVI file should have by its header; None: it does not say."""
    with Path(path).open("rb") as handle:
        head = handle.read(8)
    size = int.from_bytes(head[4:8], "little") + 8
    # Writers to a pipe, who cannot know the size, leave 0 or a very large one.
    return size if head[:4] == b"RIFF" and 8 < size < 0x7FFFF000 else None


def _states_length(container: Any, streams: list[Any], length: float) -> bool:
    """Tell whether a length comes from the header and can be held against what is there; libav also guesses."""
    if _STATED_LENGTH.isdisjoint(container.format.name.split(",")) or not length:
        return False
    if container.format.name == "avi" and _riff_size(media_path(container)) is None:
        return False
    rates = [stream.codec_context.bit_rate for stream in streams]
    if not all(rates) or streams[0].codec_context.name.startswith("pcm_"):
        return True
    # What the streams would not fill at their nominal rates is the header, if that is how libav came to the length.
    header = container.size - length * sum(rates) / 8
    return not 0 <= header <= 4096 + 0.01 * container.size


def check_reached(what: str, reached: float, stated: float) -> None:
    """Refuse an end (s) well before the stated one; codec delay and a lost last packet are forgiven."""
    if reached < stated - _slack(stated):
        raise Quarantined(
            f"{what} ends at {reached:.2f} s although the file states {stated:.2f} s: cut off or damaged; "
            "copy or download it again"
        )


def _slack(stated: float) -> float:
    return max(0.5, 0.02 * stated)
