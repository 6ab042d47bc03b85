"""Frame features of a pretrained speech model (WavLM, wav2vec 2.0, HuBERT, ...) from a folder on this machine.

Any model that ``transformers.AutoModel`` opens and that takes a waveform will do: a folder as ``save_pretrained`` or a
clone of its hub page leaves it. Nothing is downloaded. Optional: ``pip install '.[speech-models]'``.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.config import Config
from pipeline.errors import InputError, Quarantined

_PARTS = ("*.json", "*.safetensors", "*.bin")  # what decides a model's output


class SpeechModelConfig(Config):
    """A pretrained speech model whose frames become the column ``speech_model``."""

    path: Path | None = Field(None, description="folder of a Hugging Face speech model; null: none")
    layer: int = Field(-1, description="hidden state to keep; 0: before the first layer, -1: the last")


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
    def _architecture(self) -> dict[str, Any]:
        described: dict[str, Any] = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        missing = [key for key in ("conv_stride", "hidden_size", "num_hidden_layers") if key not in described]
        if missing:
            raise InputError(
                f"{self.path}/config.json lacks {', '.join(missing)}: not a speech model with a convolutional front "
                "end, as wav2vec 2.0, HuBERT and WavLM are"
            )
        if not -1 <= self.layer <= described["num_hidden_layers"]:
            raise InputError(
                f"acoustics.speech_model.layer is {self.layer}, but {self.path.name} has "
                f"{described['num_hidden_layers']} layers: 0 to that, or -1 for the last"
            )
        return described

    @cached_property
    def _front(self) -> dict[str, Any]:
        path = self.path / "preprocessor_config.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def _hash(self) -> str:
        found = hashlib.sha256()
        for path in sorted({path for part in _PARTS for path in self.path.glob(part)}):
            with path.open("rb") as file:
                found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return int(np.prod(self._architecture["conv_stride"]))

    @property
    def size(self) -> int:
        """Values a frame."""
        return int(self._architecture["hidden_size"])

    def metadata(self) -> dict[str, Any]:
        """Return what tells one model's features from another's."""
        architecture = self._architecture.get("architectures") or [self._architecture.get("model_type")]
        return {
            "architecture": architecture[0],
            "sha256": self._hash,
            "layer": self.layer,
            "n_features": self.size,
            "frame_period_samples": self.hop,
            "frame_size_samples": self.reach,
        }

    @cached_property
    def _model(self) -> Any:
        os.environ["HF_HUB_OFFLINE"] = "1"  # a folder is all there is to read; some versions look for updates
        import torch
        from transformers import AutoModel
        from transformers.utils import logging

        torch.set_num_threads(1)  # one process a core is what the engine counts on, and sums depend on it
        logging.disable_progress_bar()
        try:
            return AutoModel.from_pretrained(self.path, local_files_only=True).eval()
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"acoustics.speech_model.path: {self.path} cannot be loaded: {error}") from error

    def __call__(self, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """Return (n_frames, size) float32 of one utterance.

        Raises:
            InputError: the model was trained at another sampling rate.
            Quarantined: the sound is shorter than the model's first frame.
        """
        import torch

        wanted = int(self._front.get("sampling_rate", 16000))
        if rate != wanted:
            raise InputError(f"{self.path.name} takes {wanted} Hz, the audio table has {rate}: set audio.sample_rate")
        if len(samples) < self.reach:
            raise Quarantined(f"too short for the speech model: {len(samples)} samples, it needs {self.reach}")
        wave = samples.astype(np.float32)
        if self._front.get("do_normalize", False):
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        with torch.no_grad():
            out = self._model(torch.from_numpy(wave)[None], output_hidden_states=self.layer != -1)
        states = out.last_hidden_state if self.layer == -1 else out.hidden_states[self.layer]
        return np.ascontiguousarray(states[0].float().numpy())

    @property
    def reach(self) -> int:
        """Samples that one frame looks at."""
        reach = 1
        strides, kernels = self._architecture["conv_stride"], self._architecture["conv_kernel"]
        for stride, kernel in zip(reversed(strides), reversed(kernels), strict=True):
            reach = (reach - 1) * stride + kernel
        return int(reach)
