"""What a media file holds: streams, lengths, rotation, and whether all of it is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import Quarantined
from pipeline.media.files import open_media

# Containers whose header states the length; elsewhere it is a guess from the bit rate or the last packet.
_STATED_LENGTH = {"mov", "matroska", "avi", "flv", "wav", "w64", "flac", "asf", "aiff", "caf", "au"}


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds; seconds count from the container's start.

    ``width`` and ``height`` are as displayed (pixel shape and rotation applied); ``rotation`` is what the file
    asks for, in degrees counterclockwise (0, 90, 180, 270). Values are None where there is no such stream, and
    ends also where the file does not state them.
    """

    format: str
    duration: float
    has_audio: bool
    has_video: bool
    sample_rate: int | None
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


def probe(path: str | Path) -> MediaInfo:
    """Return what a media file holds; cover pictures do not count as video.

    Raises:
        Quarantined: the file is missing, empty, a folder, a Git-LFS pointer, text, a playlist, cut off, or
            holds neither sound nor video.
    """
    with open_media(path) as container:
        info = describe(container)
        if info.has_video:
            rotation, width, height = _first_frame(container)
            info = replace(info, rotation=rotation, width=width, height=height)
    if info.duration <= 0:  # e.g. recorded by a browser: nothing is stated
        info = replace(info, duration=last_packet(path))
    return info


def describe(container: Any) -> MediaInfo:
    """Return what the headers of an open container say (rotation is only known from a frame on: 0 here)."""
    audio, video = audio_stream(container), video_stream(container)
    if audio is None and video is None:
        raise Quarantined("holds neither sound nor video")
    origin = (container.start_time or 0) / 1e6
    ends = [None if stream is None else _end(stream, origin) for stream in (audio, video)]
    stated = container.duration / 1e6 if container.duration else 0.0
    return MediaInfo(
        format=container.format.name,
        duration=stated or max(end or 0.0 for end in ends),
        has_audio=audio is not None,
        has_video=video is not None,
        sample_rate=audio.codec_context.sample_rate if audio else None,
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


def quarter_turns(frame: Any) -> int:
    """Return how often a decoded frame must be turned by 90 degrees counterclockwise to stand upright."""
    return round(frame.rotation / 90) % 4


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
    turns = quarter_turns(frame)
    return (90 * turns, height, width) if turns % 2 else (90 * turns, width, height)


def last_packet(path: str | Path) -> float:
    """Return where the last packet of sound or video ends (s), from reading the file through without decoding.

    Raises:
        Quarantined: as :func:`probe`.
    """
    import av

    end = 0.0
    with open_media(path) as container:
        streams = [stream for stream in (audio_stream(container), video_stream(container)) if stream is not None]
        origin = (container.start_time or 0) / 1e6
        try:
            for packet in container.demux(streams):
                if packet.pts is not None:
                    end = max(end, seconds(packet.stream, packet.pts + (packet.duration or 0)) - origin)
        except av.FFmpegError:
            pass  # damaged from here on: what was read up to here is the answer
    return end


def check_complete(path: str | Path, info: MediaInfo) -> None:
    """Refuse a file that ends well before the length its header states.

    Raises:
        Quarantined: it was cut off while it was recorded or copied.
    """
    if states_length(info):
        check_reached("the file", last_packet(path), info.duration * _riff_excess(path))


def _riff_excess(path: str | Path) -> float:
    """Return by what factor a WAV or AVI file should be longer by its own header (libav goes by what is there)."""
    with Path(path).open("rb") as handle:
        head = handle.read(8)
    size, stated = Path(path).stat().st_size, int.from_bytes(head[4:8], "little") + 8
    # Writers to a pipe, who cannot know the size, leave a very large one.
    return stated / size if head[:4] == b"RIFF" and size < stated < 0x7FFFF000 else 1.0


def states_length(info: MediaInfo) -> bool:
    """Tell whether lengths come from the file's header and can be held against what decodes."""
    return not _STATED_LENGTH.isdisjoint(info.format.split(","))


def check_reached(what: str, reached: float, stated: float) -> None:
    """Refuse an end (s) well before the stated one; codec delay and a lost last packet are forgiven."""
    if reached < stated - max(0.5, 0.02 * stated):
        raise Quarantined(
            f"{what} ends at {reached:.2f} s although the file states {stated:.2f} s: cut off or damaged; "
            "copy or download it again"
        )
