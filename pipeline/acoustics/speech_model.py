"""Frame features of a pretrained speech model (WavLM, wav2vec 2.0, HuBERT, Whisper, ...) from a folder on this machine.

A folder as ``save_pretrained`` or a clone of its hub page leaves it. Nothing is downloaded. Optional:
``pip install '.[speech-models]'``.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.acoustics.speech_families import Family, open_family, read_json
from pipeline.config import Config
from pipeline.errors import InputError, Quarantined

_PARTS = ("*.json", "*.safetensors", "*.bin")  # what decides a model's output


class SpeechModelConfig(Config):
    """A pretrained speech model whose frames become the column ``speech_model``."""

    path: Path | None = Field(None, description="folder of a Hugging Face speech model; null: none")
    layer: int | Literal["middle", "all"] = Field(
        "middle", description="hidden state to keep; 0: before the first layer, -1: the last; middle; all: side by side"
    )


class SpeechModel:
    """Waveform to hidden states; the model is loaded on the first call and kept.

    Args:
        config: with a path.

    Raises:
        InputError: the folder does not hold such a model, or transformers is not installed.
    """

    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    def __init__(self, config: SpeechModelConfig) -> None:
        if config.path is None:
            raise ValueError("no path")
        self.path, self.layer = config.path, config.layer
        if not (self.path / "config.json").is_file():
            raise InputError(
                f"acoustics.speech_model.path: {self.path} holds no config.json; name the folder of a Hugging Face "
                "speech model (save_pretrained, or a clone of its page with Git LFS)"
            )
        try:
            import transformers  # noqa: F401
        except ImportError:
            raise InputError(
                "acoustics.speech_model needs transformers: pip install '.[speech-models]'; or set its path to null"
            ) from None

    @cached_property
    def _family(self) -> Family:
        return open_family(self.path)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The hidden states that are kept, 0 to the number of layers."""
        count = self._family.sizes[0]
        if self.layer == "all":
            return tuple(range(count + 1))
        if self.layer == "middle":  # the first knows sound, the last words; emotion is heard best between them
            return ((count + 1) // 2,)
        if not -1 <= self.layer <= count:
            raise InputError(
                f"acoustics.speech_model.layer is {self.layer}, but {self.path.name} has {count} layers: 0 to that, -1 "
                "for the last, middle or all"
            )
        return (count if self.layer == -1 else self.layer,)

    @cached_property
    def _hash(self) -> str:
        found = hashlib.sha256()
        for path in sorted({path for part in _PARTS for path in self.path.glob(part)}):
            with path.open("rb") as file:
                found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()

    @cached_property
    def _rate(self) -> int:
        return int(read_json(self.path / "preprocessor_config.json").get("sampling_rate", 16000))

    def metadata(self) -> dict[str, Any]:
        """Return what tells one model's features from another's."""
        described = read_json(self.path / "config.json")
        family = self._family
        return {
            "architecture": (described.get("architectures") or [described.get("model_type")])[0],
            "sha256": self._hash,
            "layer": self.layer,
            "n_features": len(self.layers) * family.sizes[1],
            "frame_period_samples": family.hop,
            "frame_size_samples": family.reach,
            **({"layers": len(self.layers)} if self.layer == "all" else {}),
            **({"centred": True} if family.centred else {}),
        }

    def __call__(self, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """Return (n_frames, n_features) float32 of one utterance; several layers lie side by side.

        Raises:
            InputError: the model was trained at another sampling rate.
            Quarantined: the sound is shorter than the model's first frame.
        """
        if rate != self._rate:
            raise InputError(
                f"{self.path.name} takes {self._rate} Hz, the audio table has {rate}: set audio.sample_rate"
            )
        family = self._family
        shortest = 1 if family.centred else family.reach
        if len(samples) < shortest:
            raise Quarantined(f"too short for the speech model: {len(samples)} samples, it needs {shortest}")
        states = family.states(samples.astype(np.float32), rate, self.layers)
        return np.ascontiguousarray(np.concatenate(states, axis=1), dtype=np.float32)
