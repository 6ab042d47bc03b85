"""Real media files, byte-identical from run to run: H.264 and AAC in mp4, FLAC for sound alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.engine.files import replace_file
from pipeline.errors import InputError


def encoder() -> str:
    """Return the ffmpeg that encodes: the bundled one, since a system's may lack x264 and would give other bytes."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:  # the wheel holds no binary for this machine
        from pipeline.media import ffmpeg_exe

        return ffmpeg_exe()


def write_film(
    path: Path, *, frames: Iterable[np.ndarray], size: int, fps: float, samples: np.ndarray, rate: int, crf: int
) -> None:
    """Write ``frames`` ((size, size, 3) uint8 RGB) and ``samples`` (float mono) as an mp4, atomically.

    Raises:
        InputError: ffmpeg fails; with its message.
    """
    import ffmpeg

    # One thread and no dates, versions or identifiers in the file: equal input gives equal bytes.
    exact = {"fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact", "map_metadata": "-1", "threads": 1}
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"
        _write_pcm(sound, samples, rate, "WAV")

        def write(temporary: Path) -> None:
            film = ffmpeg.input(
                "pipe:", format="rawvideo", pix_fmt="rgb24", video_size=(size, size), framerate=fps, threads=1
            )
            command = ffmpeg.output(
                film, ffmpeg.input(str(sound)), f"file:{temporary}", format="mp4", vcodec="libx264", preset="veryfast",
                crf=crf, pix_fmt="yuv420p", acodec="aac", audio_bitrate="96k", **exact,
            )  # fmt: skip
            process = command.global_args("-loglevel", "error", "-nostdin").run_async(
                cmd=encoder(), pipe_stdin=True, pipe_stderr=True, overwrite_output=True
            )
            try:
                for frame in frames:
                    process.stdin.write(np.ascontiguousarray(frame).tobytes())
            except BrokenPipeError:
                pass  # ffmpeg has died: its message below says why
            message = process.communicate()[1].decode(errors="replace").strip()
            if process.returncode:
                reason = message[:700] or process.returncode
                raise InputError(f"ffmpeg cannot write {path.name}: {reason}; set AVSER_FFMPEG")

        replace_file(path, write)


def write_sound(path: Path, *, samples: np.ndarray, rate: int) -> None:
    """Write ``samples`` (float mono) as 16-bit FLAC, atomically."""
    replace_file(path, lambda temporary: _write_pcm(temporary, samples, rate, "FLAC"))


def _write_pcm(path: Path, samples: np.ndarray, rate: int, kind: str) -> None:
    import soundfile

    soundfile.write(path, samples, rate, format=kind, subtype="PCM_16")
