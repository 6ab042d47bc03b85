"""What happens to decoded sound, once for both ways to decode it: put on the clock, resampled, channels mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.media.info import MediaInfo

Filter = tuple[str, dict[str, Any]]

_MOST_NAMED = 8  # channels; ffmpeg knows where the speakers of more are in few layouts only


@dataclass(frozen=True)
class SoundGraph:
    """FFmpeg's filters in order: ``clock``, then one branch, or two whose channels are put side by side.

    Out come float32 samples, in one column of a mono source; else in two, which are left and right of a plain stereo
    source, and the first channel and the mean of all of any other.
    """

    seek: int  # s from the container's start, where reading begins
    sample_rate: int  # Hz, of what comes out
    columns: int
    clock: tuple[Filter, ...]
    branches: tuple[tuple[Filter, ...], ...]


def is_stereo(info: MediaInfo) -> bool:
    """Tell whether a source has the two channels, left and right."""
    return info.channels == 2 and info.layout == "stereo"


def sound_graph(info: MediaInfo, *, sample_rate: int, seek: int) -> SoundGraph:
    """Return the filters for the sound of a file that is read from ``seek`` s on, counted from the container's start.

    Sample i that comes out is at ``seek + i / sample_rate``: silence precedes late sound and fills gaps.
    """
    clock: tuple[Filter, ...] = (("asetpts", {"expr": f"PTS-{info.origin + seek:.6f}/TB"}), ("atrim", {"start": 0}))
    channels = info.channels or 1
    mono, stereo = _resampled(sample_rate, "mono"), _resampled(sample_rate, "stereo")
    if channels == 1:
        return SoundGraph(seek, sample_rate, 1, clock, (mono,))
    if is_stereo(info):  # the usual case; a graph with two branches takes longer
        return SoundGraph(seek, sample_rate, 2, clock, (stereo,))
    if channels > _MOST_NAMED or "ambisonic" in (info.layout or ""):
        mean = "+".join(f"{1 / channels:.9f}*c{channel}" for channel in range(channels))
        return SoundGraph(seek, sample_rate, 2, clock, ((("pan", {"args": f"stereo|c0=c0|c1={mean}"}), *stereo),))
    return SoundGraph(seek, sample_rate, 2, clock, ((("pan", {"args": "mono|c0=c0"}), *mono), mono))


def _resampled(sample_rate: int, layout: str) -> tuple[Filter, ...]:
    # rematrix_maxval: the mean of the channels, where float formats would get a louder sum.
    options = {"sample_rate": sample_rate, "async": 1, "first_pts": 0, "rematrix_maxval": 1}
    return ("aresample", options), ("aformat", {"sample_fmts": "flt", "channel_layouts": layout})
