"""How far the sound and picture of a file reach, and whether their clock runs through: from packets, not decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import Quarantined
from pipeline.media.files import mp4_boxes

MAX_GAP = 300.0  # s without sound that are filled with silence; ffmpeg holds them in memory
MAX_LENGTH = 24 * 3600.0  # s that a file may last by its timestamps
# s that a clock may step back: containers that store no decoding times have those of films guessed.
_BACK = {"audio": 0.25, "video": 1.0}
JOINED = "files were joined end to end; name its parts one by one, or join them with ffmpeg's concat demuxer"


def walk(
    container: Any, streams: Sequence[Any], origin: float, *, start: float = 0.0, end: float | None = None
) -> float:
    """Read the packets of these streams up to ``end`` and return where the last one ends (s from the origin).

    Args:
        container: open, at ``start`` or before it.
        streams: of the container.
        origin: where the container starts on its own clock (s).
        start: sound is missed from here on (s from the origin).
        end: s from the origin; None: all of the file.

    Raises:
        Quarantined: the clock starts anew or leaps, so that times mean nothing or would fill the memory.
    """
    import av

    clock = PacketClock(streams, origin, start=start)
    packets = container.demux(streams)
    while not clock.passed:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):  # damaged from here on: what was read up to here is the answer
            break
        clock(packet, end)
    return clock.reached


class PacketClock:
    """Whether times run through from packet to packet; see `walk`.

    Attributes:
        reached: where the last packet ends (s from the origin).
        passed: a packet after the end came by.
    """

    def __init__(self, streams: Sequence[Any], origin: float, *, start: float = 0.0) -> None:
        self.origin, self.heard = origin, start
        self.reached, self.passed = 0.0, False
        self._latest: dict[int, float] = {}  # decoding time of each stream's last packet
        self._bases = {stream.index: (stream.type, float(stream.time_base)) for stream in streams}

    def __call__(self, packet: Any, end: float | None) -> None:
        """Take in the next packet of a stretch up to ``end`` (s from the origin; None: of all).

        Raises:
            Quarantined: the clock starts anew or leaps.
        """
        if packet.pts is None or packet.is_discard or not packet.size:
            return
        kind, base = self._bases[packet.stream_index]
        time = packet.pts * base - self.origin
        decoded = time if packet.dts is None else packet.dts * base - self.origin
        before = self._latest.setdefault(packet.stream_index, decoded)
        if decoded < before - _BACK[kind]:
            raise Quarantined(f"its clock starts anew after {before:.2f} s: {JOINED}")
        self._latest[packet.stream_index] = max(before, decoded)
        after = time + (packet.duration or 0) * base
        if kind == "audio":
            if time - self.heard > MAX_GAP:
                raise Quarantined(
                    f"has no sound from {self.heard:.2f} to {time:.2f} s by its timestamps, a longer gap than the "
                    f"{MAX_GAP:g} s that are filled with silence; cut the file there"
                )
            self.heard = max(self.heard, after)
        if end is not None and decoded > end:
            self.passed = True
            return
        if after > MAX_LENGTH:
            raise Quarantined(f"lasts over {MAX_LENGTH / 3600:g} h by its timestamps; cut it into parts")
        self.reached = max(self.reached, after)


def check_single(path: str | Path) -> None:
    """Refuse two recordings in one file where libav passes over the second without a word.

    Raises:
        Quarantined: what was joined to the end of the first is not read.
    """
    with Path(path).open("rb") as handle:
        head = handle.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            size = int.from_bytes(head[4:8], "little")
            handle.seek(8 + size + size % 2)
            second = handle.read(4) == b"RIFF"
        elif head[:3] == b"FLV":
            place = int.from_bytes(head[5:9], "big") + 4
            handle.seek(place)
            while len(tag := handle.read(11)) == 11 and tag[:3] != b"FLV":
                place += 11 + int.from_bytes(tag[1:4], "big") + 4
                handle.seek(place)
            second = tag[:3] == b"FLV"
        else:
            second = mp4_boxes(Path(path)).count(b"moov") > 1
    if second:
        raise Quarantined(f"holds more than one recording, and only the first can be read: {JOINED}")
