"""What a media file is, and how its samples and frames are read on one clock.

Every time in this project is in seconds from the container's start (its earliest stream), for sound and picture
alike. Only local files of known container formats are opened: a playlist in disguise could otherwise make
ffmpeg read other files or reach the network.
"""

from __future__ import annotations

import codecs
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, Quarantined

# Demuxers that read one file and follow no reference out of it (so no hls, dash, concat, image2, sdp, ...).
FORMATS = "mov,matroska,avi,flv,mpeg,mpegts,asf,mp3,wav,w64,flac,ogg,aac,aiff,caf,amr,au"
# Of these, the ones whose header states the length; elsewhere it is a guess from the bit rate.
STATED_LENGTH = {"mov", "matroska", "avi", "flv", "wav", "w64", "flac", "asf", "aiff", "caf", "au"}
MISSING_SECONDS = 0.5  # stated length may exceed what decodes by this much (codec delay, a lost last packet)
PREROLL = 1.0  # s decoded and thrown away before a cut, so that codecs and the resampler have settled


def ffmpeg_exe() -> str:
    """Return the path of a working ffmpeg: ``$AVSER_FFMPEG``, else the system's, else imageio-ffmpeg's.

    Raises:
        InputError: none of them runs.
    """
    return _ffmpeg(os.environ.get("AVSER_FFMPEG"))[0]


def ffmpeg_version() -> str:
    """Return what :func:`ffmpeg_exe` says of itself, e.g. ``"7.1"``."""
    return _ffmpeg(os.environ.get("AVSER_FFMPEG"))[1]


@functools.cache
def _ffmpeg(override: str | None) -> tuple[str, str]:
    candidates = [override] if override else [shutil.which("ffmpeg"), _bundled_ffmpeg()]
    for path in filter(None, candidates):
        try:
            done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        if found := re.match(r"ffmpeg version (\S+)", done.stdout):
            return path, found[1]
    if override:
        raise InputError(f"AVSER_FFMPEG={override} is not a working ffmpeg; correct it or unset it")
    raise InputError("no working ffmpeg: install ffmpeg, `pip install imageio-ffmpeg`, or set AVSER_FFMPEG")


def _bundled_ffmpeg() -> str | None:
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):  # not installed, or a wheel without a binary for this machine
        return None


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds; seconds count from the container's start.

    ``width`` and ``height`` are as displayed (rotation and pixel shape applied); ``rotation`` is what the file
    asks for, in degrees counterclockwise (0, 90, 180, 270). Ends are None where the file states none.
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
    origin: float  # the container's start on its own clock
    audio_start: float | None
    audio_end: float | None
    video_end: float | None


def content_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hex, read in blocks."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def probe(path: str | Path) -> MediaInfo:
    """Return what a media file holds; cover pictures do not count as video.

    Raises:
        Quarantined: the file is missing, empty, a folder, a Git-LFS pointer, text, a playlist, cut off, or no media.
    """
    with _open(path) as container:
        return _describe(path, container)


def _describe(path: str | Path, container: Any, *, rotation: bool = True) -> MediaInfo:
    audio, video = _audio(container), _video(container)
    if audio is None and video is None:
        raise Quarantined("holds neither sound nor video")
    width = height = None
    turn = 0
    if video is not None:
        width, height = _display_size(video.width, video.height, video.sample_aspect_ratio)
        # The rotation is known from a decoded frame on; the stream itself does not tell.
        if rotation and (first := next(_decoded(container, video), None)) is not None:
            turn = round(first.rotation / 90) % 4 * 90
            if turn % 180:
                width, height = height, width
    origin = (container.start_time or 0) / 1e6
    ends = [None if stream is None else _end(stream, origin) for stream in (audio, video)]
    duration = container.duration / 1e6 if container.duration else max((e for e in ends if e), default=0.0)
    return MediaInfo(
        format=container.format.name,
        duration=duration or last_packet(path),
        has_audio=audio is not None,
        has_video=video is not None,
        sample_rate=audio.codec_context.sample_rate if audio is not None else None,
        fps=float(video.average_rate or video.guessed_rate or 0) or None if video is not None else None,
        width=width,
        height=height,
        rotation=turn,
        audio_index=audio.index if audio is not None else None,
        video_index=video.index if video is not None else None,
        origin=origin,
        audio_start=_seconds(audio, audio.start_time) - origin if audio is not None else None,
        audio_end=ends[0],
        video_end=ends[1],
    )


def last_packet(path: str | Path) -> float:
    """Return where the last packet of sound or video ends (s), from reading the file through without decoding.

    Raises:
        Quarantined: as :func:`probe`.
    """
    import av

    end = 0.0
    with _open(path) as container:
        streams = [stream for stream in (_audio(container), _video(container)) if stream is not None]
        try:
            for packet in container.demux(streams):
                if packet.pts is not None:
                    last = _seconds(packet.stream, packet.pts + (packet.duration or 0))
                    end = max(end, last - (container.start_time or 0) / 1e6)
        except av.FFmpegError:
            pass  # damaged from here on: what was read up to here is the answer
    return end


def check_complete(path: str | Path, info: MediaInfo) -> None:
    """Refuse a file that ends well before the length its header states.

    Raises:
        Quarantined: it was cut off while copied or recorded.
    """
    if not STATED_LENGTH.intersection(info.format.split(",")):
        return
    end = last_packet(path)
    if end < info.duration - _tolerance(info.duration):
        raise Quarantined(_cut_off("the file", end, info.duration))


def decode_audio(
    path: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    sample_rate: int = 16000,
    timeout: float = 600.0,
) -> NDArray[np.float32]:
    """Return the sound between two times as mono samples, shape (n,), full scale +-1.

    Timestamps are honoured: sound that begins late is preceded by silence and gaps are filled, so that sample i
    is at ``start + i / sample_rate`` on the clock of :func:`frames`. Channels are averaged.

    Args:
        path: a local media file.
        start: s from the container's start.
        end: s; None: to the end of the sound. Sound that ends earlier gives a shorter result, not silence.
        sample_rate: Hz.
        timeout: s after which decoding is given up.

    Raises:
        Quarantined: there is no sound, it cannot be decoded, or it stops well before the stated length.
    """
    blocks = list(audio_blocks(path, start=start, end=end, sample_rate=sample_rate, timeout=timeout))
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def audio_blocks(
    path: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    sample_rate: int = 16000,
    block: int = 1 << 20,
    timeout: float = 600.0,
) -> Iterator[NDArray[np.float32]]:
    """Yield what :func:`decode_audio` returns in blocks of ``block`` samples (the last one is shorter)."""
    with _open(path) as container:
        info = _describe(path, container, rotation=False)
    if not info.has_audio:
        raise Quarantined("has no audio stream")
    first = round(start * sample_rate)
    wanted = None if end is None else round(end * sample_rate) - first
    if first < 0 or (wanted is not None and wanted <= 0):
        raise Quarantined(f"the stretch from {start:g} s to {end:g} s is empty")
    lead = max(0, first - round(PREROLL * sample_rate))
    got = 0
    for samples in _ffmpeg_samples(path, info, lead / sample_rate, sample_rate, first - lead, wanted, block, timeout):
        got += len(samples)
        yield samples
    reached = (first + got) / sample_rate
    if STATED_LENGTH.intersection(info.format.split(",")) and info.audio_end is not None:
        stated = min(info.audio_end, info.audio_end if end is None else end)
        if reached < stated - _tolerance(stated - start):
            raise Quarantined(_cut_off("the sound", reached, stated))
    if got == 0:
        raise Quarantined(f"has no sound after {start:g} s")


def _ffmpeg_samples(
    path: str | Path, info: MediaInfo, seek: float, rate: int, skip: int, wanted: int | None, block: int, timeout: float
) -> Iterator[NDArray[np.float32]]:
    """Yield float32 blocks from an ffmpeg process that starts at ``seek`` s, without the first ``skip`` samples."""
    import ffmpeg

    # -copyts: ffmpeg would otherwise move a late sound of an mpeg file to 0. rematrix_maxval: average the channels.
    source = ffmpeg.input(
        _url(path),
        **{"nostdin": None, "hide_banner": None, "copyts": None, "noaccurate_seek": None, "threads": 1},
        **{"protocol_whitelist": "file", "format_whitelist": FORMATS},
        **({"ss": f"{seek:.6f}"} if seek > 0 else {}),
    )
    sound = (
        source[str(info.audio_index)]
        .filter("asetpts", f"PTS-{info.origin + seek:.6f}/TB")
        .filter("aresample", rate, **{"async": 1, "first_pts": 0, "rematrix_maxval": 1})
        .filter("aformat", sample_fmts="flt", channel_layouts="mono")
    )
    command = sound.output("pipe:1", format="f32le", threads=1, loglevel="error").compile(cmd=ffmpeg_exe())
    done = False
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        watchdog = threading.Timer(timeout, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            process.stdout.read(4 * skip)
            left = wanted
            while left is None or left > 0:
                count = block if left is None else min(block, left)
                data = process.stdout.read(4 * count)
                if not data:
                    break
                samples = np.frombuffer(data[: len(data) // 4 * 4], dtype="<f4")
                left = None if left is None else left - len(samples)
                yield samples
            done = left == 0  # the rest of the file is not wanted
        finally:
            timed_out = watchdog.finished.is_set()
            watchdog.cancel()
            if done or process.poll() is None and not watchdog.is_alive():
                process.kill()
            process.stdout.close()
            code = process.wait()
        if timed_out:
            raise Quarantined(f"decoding the sound took longer than {timeout:g} s")
        if code and not done:
            errors.seek(0)
            raise Quarantined(f"ffmpeg cannot decode the sound: {_last_line(errors.read(), path)}")
