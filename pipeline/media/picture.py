"""Frames of a media file with their real timestamps, upright and as small as wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Quarantined
from pipeline.media.extent import JOINED
from pipeline.media.files import open_media
from pipeline.media.info import MediaInfo, check_reached, describe, display_size, orientation, video_stream

MAX_PIXELS = 1 << 26  # of a frame, twice those of 8K film: more would take gigabytes to decode
_PREROLL = 0.5  # s; indexes are in decoding order, in which a key frame may come a little after its place
_REORDERED = 16  # frames that decoders hold back at most to bring them into order
_BACK = 1.0  # s that times may step back before the clock counts as started anew
_LOST_SHARE = 0.05  # of the frames


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One picture: ``time`` in seconds from the container's start, ``image`` uint8 RGB of shape (height, width, 3)."""

    time: float
    image: NDArray[np.uint8]


def frames(
    path: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    max_fps: float | None = None,
    max_height: int | None = None,
) -> Iterator[Frame]:
    """Yield the frames with ``start <= time < end`` in order, upright, with square pixels.

    Times are the file's own, so a variable frame rate stays what it is; they rise strictly. Their clock is that of
    :func:`pipeline.media.decode_audio`. Decoding uses one thread.

    Args:
        path: a local media file.
        start: s from the container's start.
        end: s; None: to the end of the film.
        max_fps: frames that follow the one before more closely are left out.
        max_height: higher frames are made smaller, keeping their shape; px.

    Raises:
        Quarantined: there is no video, it cannot be decoded, its clock starts anew, more than a few of its frames
            are damaged or out of order, or it stops well before the stated length.
    """
    due = -np.inf
    draw: _Draw | None = None
    for time, picture, stream in _pictures(path, start, end):
        if max_fps is not None:
            # Some slack: rounded or jittering timestamps must not thin a film of just this rate.
            if time < due - min(0.01, 0.25 / max_fps):
                continue
            due = (time if time > due + 0.75 / max_fps else due) + 1 / max_fps  # afresh after a gap
        draw = draw or _Draw(stream.sample_aspect_ratio, max_height)
        yield Frame(time, draw(picture))


def _pictures(path: str | Path, start: float, end: float | None) -> Iterator[tuple[float, Any, Any]]:
    """Yield (time, decoded frame, stream) of the wanted stretch, times strictly rising."""
    import av

    # Where the index leads past the place or nowhere, the file is read from its beginning rather than lose frames.
    for seek in (start - _PREROLL, 0.0) if start > _PREROLL else (0.0,):
        with open_media(path) as container:
            info = describe(container)
            stream = video_stream(container)
            if stream is None:
                raise Quarantined("has no video stream (a cover picture does not count)")
            _check_size(stream.width, stream.height)
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # frames may be larger than the header says
            if seek > 0:
                try:
                    container.seek(int((seek + info.origin) * 1e6))
                except av.FFmpegError:
                    continue
            last, lost, count = -np.inf, _Lost(), 0
            for picture, time in _timed(_decoded(container, stream, lost), stream, info):
                if seek > 0 and last == -np.inf and time > start:
                    break
                if time < last - _BACK:
                    raise Quarantined(f"the clock of its video starts anew after {last:.2f} s: {JOINED}")
                count += 1
                if time <= last:
                    lost.frames += 1
                    continue
                last = time
                if end is not None and time >= end:
                    lost.check(count)
                    return
                if time >= start - 1e-6:
                    yield time, picture, stream
            else:
                if last > -np.inf or seek <= 0:
                    break
    if last == -np.inf:
        raise Quarantined("its video cannot be decoded: cut off or damaged; copy or download it again")
    lost.check(count)
    if info.video_end is not None:
        check_reached("the video", last + 1 / (info.fps or 25), min(info.video_end, end or info.video_end))


@dataclass
class _Lost:
    """Frames that are not delivered."""

    frames: int = 0

    def check(self, count: int) -> None:
        if self.frames > max(2, _LOST_SHARE * count):
            raise Quarantined(
                f"{self.frames} frames of its video are damaged or out of order, {count} are sound; convert it again"
            )


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Quarantined(f"its video is too large ({width} x {height} px); make it smaller")


def _decoded(container: Any, stream: Any, lost: _Lost) -> Iterator[Any]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):  # the end, or a file cut off in the middle: its length tells which
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            lost.frames += 1  # one damaged packet; the frames after it are still good


def _timed(pictures: Iterator[Any], stream: Any, info: MediaInfo) -> Iterator[tuple[Any, float]]:
    """Yield decoded frames with their times (s)."""
    last = None
    for picture, pts in _sorted(pictures) if info.format == "avi" else ((picture, picture.pts) for picture in pictures):
        if pts is not None:
            last = float(pts * stream.time_base) - info.origin
        else:
            last = 0.0 if last is None else last + 1 / (info.fps or 25)
        yield picture, last


def _sorted(pictures: Iterator[Any]) -> Iterator[tuple[Any, int | None]]:
    """Yield frames with their timestamps in order: AVI numbers frames as they are stored, and decoders reorder them."""
    waiting: deque[Any] = deque()
    stamps: list[int] = []
    for picture in pictures:
        waiting.append(picture)
        if picture.pts is not None:
            heappush(stamps, picture.pts)
        if len(waiting) > _REORDERED:
            yield waiting.popleft(), heappop(stamps) if stamps else None
    while waiting:
        yield waiting.popleft(), heappop(stamps) if stamps else None


class _Draw:
    """Decoded frame to RGB array; holds the scalers, whose set-up costs more than a small frame."""

    def __init__(self, aspect: Any, max_height: int | None) -> None:
        from av.video.reformatter import VideoReformatter

        self.aspect, self.max_height = aspect, max_height
        self.scaler, self.painter = VideoReformatter(), VideoReformatter()

    def __call__(self, picture: Any) -> NDArray[np.uint8]:
        transposed, flip_x, flip_y = orientation(picture)
        width, height = display_size(picture.width, picture.height, self.aspect)
        shown = width if transposed else height
        if self.max_height is not None and shown > self.max_height:
            width, height = (max(1, round(side * self.max_height / shown)) for side in (width, height))
        if (width, height) != (picture.width, picture.height):
            picture = self._scaled(picture, width, height)
        rgb: NDArray[Any] = self.painter.reformat(picture, width, height, "rgb24", threads=1).to_ndarray()
        if transposed:
            rgb = rgb.swapaxes(0, 1)
        return np.ascontiguousarray(rgb[:: -1 if flip_y else 1, :: -1 if flip_x else 1])

    def _scaled(self, picture: Any, width: int, height: int) -> Any:
        import av

        try:
            # Scaling in the film's own colours and painting the small frame is 3-5 times faster than both at once.
            return self.scaler.reformat(picture, width, height, picture.format.name, interpolation="AREA", threads=1)
        except av.ArgumentError:  # colours that can only be read: palettes, raw sensors, some packed formats
            return self.scaler.reformat(picture, width, height, "rgb24", interpolation="AREA", threads=1)
