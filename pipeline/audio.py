"""The sound of a segment as 16 kHz mono FLAC: what every acoustic measure starts from."""

from __future__ import annotations

from io import BytesIO
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.config import Config
from pipeline.errors import Quarantined
from pipeline.media import decode_audio, decoder_version

_OVERSHOOT = 2.0  # times full scale; beyond, clipped recordings come out of lossy codecs in .02 % of the samples
_CLIPPED_SHARE = 0.001  # of the samples


class AudioConfig(Config):
    """Section ``audio``."""

    sample_rate: int = Field(16000, ge=8000, le=48000, description="Hz")


class AudioExtractor:
    """A stretch of a media file to FLAC bytes (16 bit, lossless from there on)."""

    modules: ClassVar[tuple[str, ...]] = ("pipeline.audio", "pipeline.media")
    packages: ClassVar[tuple[str, ...]] = ("av", "ffmpeg-python", "imageio-ffmpeg", "soundfile")

    def __init__(self, config: AudioConfig) -> None:
        self.config = config

    def metadata(self) -> dict[str, Any]:
        """Return the format and what decoded the sound."""
        return {"sample_rate": self.config.sample_rate, "channels": 1, "bits": 16, "ffmpeg": decoder_version()}

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return ``sample_rate`` (Hz) and ``flac`` (bytes) of ``media_path`` from ``start`` to ``end`` (s).

        Raises:
            Quarantined: there is no sound there, it cannot be decoded, or it lies beyond full scale.
        """
        rate = self.config.sample_rate
        samples = decode_audio(item["media_path"], start=item["start"], end=item["end"], sample_rate=rate)
        if not np.isfinite(samples).all():
            raise Quarantined("its sound holds values that are no numbers; convert the file again")
        check_scale(samples)
        return {"sample_rate": rate, "flac": encode_flac(samples, rate)}


def check_scale(samples: NDArray[np.floating[Any]]) -> None:
    """Refuse sound of which more than single peaks would be clipped, as only files of floating-point samples hold.

    Raises:
        Quarantined: it is louder than full scale, or holds integers as floats.
    """
    beyond = np.abs(samples) > _OVERSHOOT
    if beyond.mean() > _CLIPPED_SHARE:
        peak = 20 * np.log10(np.abs(samples).max())
        raise Quarantined(
            f"its sound exceeds full scale by {peak:.0f} dB, {beyond.mean():.1%} of it lies far beyond: make it "
            f"quieter, or divide samples that are integers stored as floats by 32768 (ffmpeg -af volume=-{peak:.0f}dB)"
        )


def encode_flac(samples: NDArray[np.floating[Any]], sample_rate: int) -> bytes:
    """Return mono samples (n,), full scale +-1, as 16 bit FLAC; what exceeds full scale is clipped.

    >>> samples, rate = decode_flac(encode_flac(np.array([0.0, 0.5, -2.0]), 16000))
    >>> samples.tolist(), rate
    ([0.0, 0.5, -1.0], 16000)
    """
    import soundfile

    # Rounded here, and not by the library, so that 1 is 32768 steps in both directions.
    steps = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    buffer = BytesIO()
    soundfile.write(buffer, steps, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(flac: bytes) -> tuple[NDArray[np.float32], int]:
    """Return mono samples (n,), full scale +-1, and their rate in Hz."""
    import soundfile

    samples, rate = soundfile.read(BytesIO(flac), dtype="float32", always_2d=False)
    return samples, int(rate)
