"""Segments: which stretches of a clip are used. Long recordings are cut at pauses, short ones stay whole."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from pipeline.config import Config
from pipeline.errors import Quarantined
from pipeline.media import MediaInfo, audio_blocks, check_complete, decoder_version, probe

_RATE = 16000  # Hz; enough to find speech, whatever the audio stage keeps
_FLOOR_DB = -100.0  # stands for digital silence, whose level is minus infinity
_EDGE = 0.05  # s; ends in a manifest are often rounded up


class SegmentsConfig(Config):
    """Section ``segments``. The lengths are the paper's (1-11 s); how pauses are found is ours."""

    min_seconds: float = Field(1.0, gt=0, description="s; shorter unlabelled stretches are quarantined")
    max_seconds: float = Field(11.0, gt=0, description="s; longer unlabelled stretches are cut")
    labelled_min_seconds: float = Field(0.3, gt=0, description="s; the same for labelled clips, which are never cut")
    max_whole_seconds: float = Field(
        600.0, gt=0, description="s; clips that are not cut (labelled, given times) last less"
    )
    hop: float = Field(0.010, gt=0, description="s between the level readings that pauses are found on")
    frame: float = Field(0.030, gt=0, description="s that a level reading spans; an odd number of hops")
    threshold: float = Field(0.3, gt=0, lt=1, description="speech is above floor + threshold * (loud - floor), in dB")
    max_range_db: float = Field(60.0, gt=0, description="the floor is at most this far below the loud level")
    min_range_db: float = Field(6.0, ge=0, description="with less between floor and loud level nothing is a pause")
    min_pause: float = Field(0.2, gt=0, description="s; shorter gaps are not pauses")
    max_pause: float = Field(2.0, gt=0, description="s; a recording that is cut is also cut at every longer pause")
    min_speech: float = Field(0.05, ge=0, description="s; shorter sounds between pauses are clicks")
    padding: float = Field(0.15, ge=0, description="s of a pause kept at either side of the speech")
    silence_db: float = Field(-70.0, description="dB re full scale; a clip that never exceeds it has no signal")

    @model_validator(mode="after")
    def _consistent(self) -> SegmentsConfig:
        if self.max_seconds < 2 * self.min_seconds:
            raise ValueError("max_seconds must be at least twice min_seconds, or a long pause-free stretch has no cut")
        return self


class SegmentsExtractor:
    """One manifest row to the stretches of it that are used."""

    modules: ClassVar[tuple[str, ...]] = ("pipeline.segments", "pipeline.media")
    packages: ClassVar[tuple[str, ...]] = ("av", "ffmpeg-python", "imageio-ffmpeg", "numpy")

    def __init__(self, config: SegmentsConfig) -> None:
        self.config = config

    def metadata(self) -> dict[str, Any]:
        """Return units and what cut the clips."""
        return {"units": {"start": "s", "end": "s", "duration": "s"}, "ffmpeg": decoder_version()}

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the segments of one clip and what the file holds.

        Args:
            item: ``media_path``; optional ``start``, ``end`` (s) and ``labelled``.

        Returns:
            ``segments`` (list of ``{"start", "end"}`` in s, in order), ``has_audio``, ``has_video``, ``fps``,
            ``sample_rate`` (Hz, of the source) and ``duration`` (s).

        Raises:
            Quarantined: no sound, no signal, too short, times outside the clip, or a file that cannot be read.
        """
        path, labelled = Path(item["media_path"]), bool(item.get("labelled"))
        info = probe(path)
        if not info.has_audio:
            raise Quarantined("has no audio stream, so there is no speech to learn from")
        check_complete(path, info)
        start, end = _given(item, info)
        whole = labelled or _times(item) != (None, None)
        shortest = self.config.labelled_min_seconds if labelled else self.config.min_seconds
        _check_length(end - start, shortest, "labelled_min_seconds" if labelled else "min_seconds")
        if whole and end - start > self.config.max_whole_seconds:
            raise Quarantined(
                f"{end - start:.0f} s is longer than {self.config.max_whole_seconds:g} s, which is too long for a clip "
                "that is not cut (segments.max_whole_seconds): give start and end of the utterance"
            )
        rms_db, seconds = levels(path, start=start, end=end, config=self.config)
        end = min(end, start + seconds)
        _check_length(end - start, shortest, "labelled_min_seconds" if labelled else "min_seconds")
        if rms_db.max() <= self.config.silence_db:
            raise Quarantined(f"no audio signal: the sound never exceeds {self.config.silence_db:g} dB")
        pieces = [(0.0, end - start)]
        if not whole and end - start > self.config.max_seconds:
            pieces = cut_at_pauses(rms_db, self.config.hop, self.config)
            if not pieces:
                raise Quarantined("no speech found: nothing lasts longer than a click (segments.min_speech)")
        return {
            "segments": [
                {"start": round(start + low, 6), "end": round(min(start + high, end), 6)} for low, high in pieces
            ],
            "has_audio": info.has_audio,
            "has_video": info.has_video,
            "fps": info.fps,
            "sample_rate": info.sample_rate,
            "duration": info.duration,
        }


def _given(item: dict[str, Any], info: MediaInfo) -> tuple[float, float]:
    """Return start and end (s) as the manifest gives them, else those of the clip."""
    start, end = _times(item)
    if start is not None and not 0 <= start < info.duration:
        raise Quarantined(f"start {start:g} s is outside the clip, which lasts {info.duration:.2f} s")
    if end is not None and not 0 < end <= info.duration + _EDGE:
        raise Quarantined(f"end {end:g} s is outside the clip, which lasts {info.duration:.2f} s")
    if start is not None and end is not None and end <= start:
        raise Quarantined(f"end {end:g} s is not after start {start:g} s")
    return start or 0.0, min(end or info.duration, info.duration)


def _times(item: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return start and end of the manifest row, None where it says nothing (an empty cell may come as NaN)."""
    given = (item.get("start"), item.get("end"))
    start, end = (None if time is None or math.isnan(time) else float(time) for time in given)
    return start, end


def _check_length(length: float, shortest: float, name: str) -> None:
    if length < shortest - 1e-6:
        raise Quarantined(f"{length:.2f} s is shorter than {shortest:g} s (segments.{name})")


def levels(
    path: str | Path, *, start: float, end: float | None, config: SegmentsConfig
) -> tuple[NDArray[np.float64], float]:
    """Return the level of every hop in dB re full scale, shape (n,), and how many seconds of sound there were.

    The file is read in blocks, so that an hour needs no more memory than a minute.
    """
    step = max(1, round(config.hop * _RATE))
    powers, n_samples = [], 0
    for samples in audio_blocks(path, start=start, end=end, sample_rate=_RATE, block=step * 10_000):
        n_samples += len(samples)
        padded = np.pad(samples, (0, -len(samples) % step)).reshape(-1, step)
        powers.append(np.einsum("ij,ij->i", padded, padded, dtype=np.float64) / step)
    width = max(1, round(config.frame / config.hop)) // 2 * 2 + 1
    power = np.pad(np.concatenate(powers), width // 2, mode="edge")
    mean = np.convolve(power, np.full(width, 1 / width), mode="valid")
    return np.maximum(10 * np.log10(np.maximum(mean, 1e-20)), _FLOOR_DB), n_samples / _RATE


def speech_runs(rms_db: ArrayLike, hop: float, config: SegmentsConfig) -> list[tuple[int, int]]:
    """Return where speech is, as (first hop, hop after the last), separated by pauses.

    The threshold lies between the floor (5th percentile) and the loud level (99th percentile) of the recording
    itself, and never below ``silence_db``; gaps below ``min_pause`` are closed, then sounds below ``min_speech``
    dropped. [ours]

    >>> quiet, loud = [-60.0] * 30, [-20.0] * 50
    >>> speech_runs(quiet + loud + quiet + loud, 0.01, SegmentsConfig())
    [(30, 80), (110, 160)]
    """
    level = np.asarray(rms_db, dtype=np.float64)
    if not len(level):
        return []
    loud = np.percentile(level, 99)
    floor = max(np.percentile(level, 5), loud - config.max_range_db)
    threshold = floor + config.threshold * (loud - floor) if loud - floor >= config.min_range_db else -math.inf
    above = np.concatenate(([False], level > max(threshold, config.silence_db), [False]))
    edges = np.flatnonzero(above[1:] != above[:-1])
    runs: list[tuple[int, int]] = []
    for first, after in edges.reshape(-1, 2).tolist():
        if runs and (first - runs[-1][1]) * hop < config.min_pause - 1e-9:
            runs[-1] = (runs[-1][0], after)
        else:
            runs.append((first, after))
    return [(first, after) for first, after in runs if (after - first) * hop >= config.min_speech - 1e-9]


def cut_at_pauses(rms_db: ArrayLike, hop: float, config: SegmentsConfig) -> list[tuple[float, float]]:
    """Return (start, end) in seconds of the pieces of a recording, in order, each ``min_seconds`` to ``max_seconds``.

    A stretch that is too long is cut at the pause with the greatest area (length times depth below the loud
    level) that leaves both parts long enough, and so on; without such a pause at its quietest place in the second
    half of the longest allowed piece. What lies between pieces holds no speech. [ours]

    Args:
        rms_db: level of each hop in dB, shape (n,).
        hop: s between readings.
        config: lengths and thresholds.
    """
    level = np.asarray(rms_db, dtype=np.float64)
    runs = speech_runs(level, hop, config)
    shortest, longest = math.ceil(config.min_seconds / hop - 1e-6), math.floor(config.max_seconds / hop + 1e-6)
    padding = round(config.padding / hop)
    firsts, afters = [first for first, _ in runs], [after for _, after in runs]
    pieces: list[tuple[int, int]] = []
    stack = [(0, len(level))]
    while stack:
        low, high = stack.pop()
        inside = slice(bisect_right(afters, low), bisect_left(firsts, high))
        if inside.start >= inside.stop:
            continue  # nothing but silence
        begin = max(low, firsts[inside.start] - padding)
        end = min(high, afters[inside.stop - 1] + padding)
        gaps = list(zip(afters[inside][:-1], firsts[inside][1:], strict=True))
        cut = _best_cut(level, begin, end, gaps, shortest, longest, round(config.max_pause / hop))
        if cut is None:
            pieces.append(_widen(begin, end, low, high, shortest))
        else:
            stack += [(cut, high), (low, cut)]
    return [(round(begin * hop, 6), round(end * hop, 6)) for begin, end in pieces]


def _best_cut(
    level: NDArray[np.float64],
    begin: int,
    end: int,
    gaps: Sequence[tuple[int, int]],
    shortest: int,
    longest: int,
    max_pause: int,
) -> int | None:
    """Return the hop to cut at, or None where the stretch may stay as it is."""
    too_long = end - begin > longest
    loud = level[begin:end].max()
    best, cut = -math.inf, None
    for first, after in gaps:
        low, high = max(first, begin + shortest), min(after, end - shortest)
        if low > high or not (too_long or after - first > max_pause):
            continue
        area = float((loud - level[first:after]).sum())
        if area > best:
            best, cut = area, min(max((first + after) // 2, low), high)
    if cut is None and too_long:
        low, high = begin + longest // 2, min(begin + longest, end - shortest)
        cut = low + int(np.argmin(level[low : high + 1]))
    return cut


def _widen(begin: int, end: int, low: int, high: int, shortest: int) -> tuple[int, int]:
    """Return the piece with as much of the silence around it as it needs to be long enough."""
    missing = max(0, shortest - (end - begin))
    begin = max(low, begin - missing // 2)
    end = min(high, max(end, begin + shortest))
    return max(low, min(begin, end - shortest)), end
