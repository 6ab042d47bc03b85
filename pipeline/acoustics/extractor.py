"""From a segment's FLAC to its acoustic row: descriptors, level and voicing a frame, mel spectrogram."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.acoustics.descriptors import PITCH_SIZE, Descriptors
from pipeline.acoustics.speech_model import SpeechModel, SpeechModelConfig
from pipeline.audio import decode_flac
from pipeline.config import Config
from pipeline.rounding import keep_bits

_FLOOR_DB = -100.0  # stands for digital silence, whose level is minus infinity


class MelConfig(Config):
    """Mel spectrogram; the sizes are DeepEmoCluster's at 16 kHz (Lin, Sridhar & Busso 2021, released code)."""

    bands: int = Field(default=128, gt=0)
    window: int = Field(default=512, gt=0, description="samples")
    hop: int = Field(default=256, gt=0, description="samples")
    scale: Literal["log", "power"] = Field(default="log", description="their code feeds power; dB is ours")


class AcousticsConfig(Config):
    """Section ``acoustics``. A 32 ms frame every 16 ms is the altered setting of Lin & Busso (2020)."""

    features: Literal["compare_lld", "egemaps_lld"] = Field("compare_lld", description="openSMILE set")
    frame_size: float = Field(0.032, gt=0, le=PITCH_SIZE, description="s; pitch frames stay 60 ms")
    frame_step: float = Field(0.016, gt=0, le=PITCH_SIZE, description="s")
    logmel: bool = Field(False, description="also compute a mel spectrogram")
    mel: MelConfig = MelConfig()
    speech_model: SpeechModelConfig = SpeechModelConfig()


class AcousticsExtractor:
    """FLAC bytes to features; openSMILE is loaded on the first call and kept."""

    modules: ClassVar[tuple[str, ...]] = ("pipeline.acoustics", "pipeline.audio", "pipeline.rounding")
    packages: ClassVar[tuple[str, ...]] = ("opensmile", "librosa", "soundfile", "numpy")

    def __init__(self, config: AcousticsConfig) -> None:
        self.config = config
        self._speech_model = SpeechModel(config.speech_model) if config.speech_model.path else None
        if self._speech_model is not None:
            self.packages = (*AcousticsExtractor.packages, *SpeechModel.packages)  # type: ignore[misc]

    @cached_property
    def _descriptors(self) -> Descriptors:
        config = self.config
        return Descriptors(config.features, frame_size=config.frame_size, frame_step=config.frame_step)

    def metadata(self) -> dict[str, Any]:
        """Return names, units and the time grid: row k looks at the ``frame_size`` s from ``k * frame_period`` on."""
        names, config = self._descriptors.names, self.config
        described: dict[str, Any] = {
            "feature_names": names,
            "n_features": len(names),
            "frame_period": config.frame_step,
            "frame_size": config.frame_size,
            "pitch_frame_size": PITCH_SIZE,
            "units": {"lld": "as openSMILE gives them", "rms_db": "dB re full scale", "voiced": "F0 found"},
        }
        if config.logmel:
            mel = config.mel
            described["logmel"] = {**mel.model_dump(), "frame_period_samples": mel.hop, "centred": True}
            described["units"]["logmel"] = "dB re full-scale power" if mel.scale == "log" else "power"
        if self._speech_model is not None:
            described["speech_model"] = self._speech_model.metadata()
        return described

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the acoustic row of ``item["flac"]``.

        Returns:
            ``n_frames``; ``lld`` float32 flat (n_frames x n_features); ``rms_db`` float32 (n_frames,), of the same
            frames; ``voiced`` bool (n_frames,); with ``logmel`` and ``speech_model`` also those, float32 flat
            (frames x bands, frames x values), on their own time grids. What is wide is rounded
            (`pipeline.rounding`): the level and the voicing, from which labels are made, are not.

        Raises:
            Quarantined: the sound is too short or gives values that are no numbers.
        """
        samples, rate = decode_flac(item["flac"])
        lld = self._descriptors(samples, rate)
        row = {
            "n_frames": len(lld),
            "lld": keep_bits(lld).ravel(),
            "rms_db": rms_db(
                samples, n_frames=len(lld), step=self.config.frame_step * rate, size=self.config.frame_size * rate
            ),
            "voiced": self._descriptors.voiced(lld),
        }
        if self.config.logmel:
            row["logmel"] = keep_bits(mel_spectrogram(samples, rate, self.config.mel)).ravel()
        if self._speech_model is not None:
            row["speech_model"] = keep_bits(self._speech_model(samples, rate)).ravel()
        return row


def rms_db(samples: NDArray[np.float32], *, n_frames: int, step: float, size: float) -> NDArray[np.float32]:
    """Return the level of each frame in dB re full scale, float32 (n_frames,), not below -100.

    Frame k holds ``size`` samples from sample ``k * step`` on (both rounded), or what is left of them.

    >>> rms_db(np.full(480, 0.1, np.float32), n_frames=2, step=160, size=320).round(3).tolist()
    [-20.0, -20.0]
    """
    energy = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    first = np.minimum(np.rint(np.arange(n_frames) * step).astype(int), len(samples) - 1)
    after = np.minimum(first + max(1, round(size)), len(samples))
    power = (energy[after] - energy[first]) / (after - first)
    return np.maximum(10 * np.log10(np.maximum(power, 1e-20)), _FLOOR_DB).astype(np.float32)


def mel_spectrogram(samples: NDArray[np.float32], sample_rate: int, config: MelConfig) -> NDArray[np.float32]:
    """Return the mel spectrogram, float32 (frames, bands); frame k is centred on sample ``k * hop``."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=config.window, hop_length=config.hop, n_mels=config.bands, power=2.0
    )
    values = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None) if config.scale == "log" else power
    return np.ascontiguousarray(values.T, dtype=np.float32)
