"""The two kinds of speech model, by what they take: a waveform, or Whisper's mel spectrogram."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

PADDING = 0.5  # s of silence after what Whisper hears, where its 30 s would be nearly all silence; ours


class Family(Protocol):
    """What a kind of speech model says of itself without loading it, and its hidden states."""

    sizes: tuple[int, int]  # number of layers, values a frame
    hop: int  # samples between frames
    reach: int  # samples that one frame looks at
    centred: bool  # frame k is centred on sample k * hop; else it begins there

    def states(self, samples: NDArray[np.float32], rate: int, layers: tuple[int, ...]) -> list[NDArray[np.float32]]:
        """Return the hidden states of these layers, (n_frames, size) each; 0 is before the first layer."""
        ...


class Waveform:
    """wav2vec 2.0, HuBERT, WavLM and others that take a waveform through convolutions, by ``AutoModel``."""

    centred = False

    def __init__(self, path: Path, described: Mapping[str, Any], front: Mapping[str, Any]) -> None:
        missing = [key for key in ("conv_stride", "conv_kernel", "hidden_size", "num_hidden_layers")
                   if key not in described]  # fmt: skip
        if missing:
            raise InputError(
                f"{path}/config.json lacks {', '.join(missing)}: not a speech model with a convolutional front end, as "
                "wav2vec 2.0, HuBERT and WavLM are, nor a Whisper model"
            )
        self.path, self.normalise = path, bool(front.get("do_normalize", False))
        self.sizes = int(described["num_hidden_layers"]), int(described["hidden_size"])
        self.hop = math.prod(described["conv_stride"])
        self.reach = 1
        for stride, kernel in zip(reversed(described["conv_stride"]), reversed(described["conv_kernel"]), strict=True):
            self.reach = (self.reach - 1) * stride + kernel

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoModel

        return _loaded(lambda: AutoModel.from_pretrained(self.path, local_files_only=True), self.path)

    def states(self, samples: NDArray[np.float32], rate: int, layers: tuple[int, ...]) -> list[NDArray[np.float32]]:
        """Return the hidden states of these layers."""
        import torch

        wave = samples
        if self.normalise:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        with torch.no_grad():
            found = self._model(torch.from_numpy(wave)[None], output_hidden_states=True).hidden_states
        return [found[layer][0].float().numpy() for layer in layers]


class Whisper:
    """The encoder of a Whisper model; its decoder need not be there (Radford et al. 2022, arXiv:2212.04356).

    It was trained on windows of 30 s filled up with silence. Short speech is followed by half a second of silence
    instead, and takes the first position embeddings: the same encoder at a fraction of the time [ours]. What is longer
    is heard in windows, each followed by half a second of what comes next.
    """

    centred = True

    def __init__(self, path: Path, described: Mapping[str, Any], front: Mapping[str, Any]) -> None:
        self.path = path
        self.sizes = int(described["encoder_layers"]), int(described["d_model"])
        self.hop = 2 * int(front.get("hop_length", 160))  # the second convolution has stride 2
        self.reach = int(front.get("n_fft", 400)) + 2 * self.hop  # both convolutions look at three frames
        self.positions, self.bands = int(described["max_source_positions"]), int(described["num_mel_bins"])

    @cached_property
    def _spectrogram(self) -> Any:
        from transformers import WhisperFeatureExtractor

        if (self.path / "preprocessor_config.json").is_file():
            return WhisperFeatureExtractor.from_pretrained(self.path)
        return WhisperFeatureExtractor(feature_size=self.bands)

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        def load() -> Any:
            opened: Any = WhisperEncoder.from_pretrained(
                self.path, local_files_only=True, dtype=torch.float32, output_loading_info=True,
                key_mapping={r"^(model\.)?encoder\.": ""},
            )  # fmt: skip
            model, found = opened
            if found["missing_keys"]:
                raise ValueError(f"weights are missing: {', '.join(sorted(found['missing_keys'])[:3])}")
            return model

        return _loaded(load, self.path)

    def states(self, samples: NDArray[np.float32], rate: int, layers: tuple[int, ...]) -> list[NDArray[np.float32]]:
        """Return the hidden states of these layers, ceil(n_samples / hop) frames."""
        padding = round(PADDING * rate)
        window = self.positions * self.hop - padding
        window -= window % self.hop
        padded = np.pad(samples, (0, padding))
        pieces = []
        for first in range(0, len(samples), window):
            frames = math.ceil(min(window, len(samples) - first) / self.hop)
            found = self._encode(padded[first : first + window + padding], rate, max(layers))
            pieces.append([found[layer][:frames] for layer in layers])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _encode(self, samples: NDArray[np.float32], rate: int, last: int) -> list[NDArray[np.float32]]:
        """Return hidden states 0 to ``last`` of at most 30 s; the encoder's own ``forward`` takes 30 s and no less."""
        import torch
        from torch.nn.functional import gelu

        model = self._model
        mel = self._spectrogram(samples, sampling_rate=rate, padding=False, truncation=False, return_tensors="pt")
        with torch.no_grad():
            x = gelu(model.conv2(gelu(model.conv1(mel.input_features)))).transpose(1, 2)
            x = x + model.embed_positions.weight[: x.shape[1]]
            states = [x]
            for layer in model.layers[:last]:
                states.append(layer(states[-1], None))
            if last == len(model.layers):
                states[-1] = model.layer_norm(states[-1])
        return [state[0].numpy() for state in states]


# ``model_type`` in config.json -> kind; all others take a waveform
FAMILIES: dict[str, type[Waveform] | type[Whisper]] = {"whisper": Whisper}


def open_family(path: Path) -> Family:
    """Read what a folder says of its model; the weights are loaded with the first utterance.

    Raises:
        InputError: it is no speech model of a known kind.
    """
    described, front = (read_json(path / name) for name in ("config.json", "preprocessor_config.json"))
    kind = FAMILIES.get(described.get("model_type", ""), Waveform)
    try:
        return kind(path, described, front)
    except KeyError as error:
        raise InputError(f"{path}/config.json lacks {error}: not a whole configuration of its kind") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the table in a file of a model folder, empty where there is none; raises InputError if it is no JSON."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    return found if isinstance(found, dict) else {}


def _loaded(load: Callable[[], Any], path: Path) -> Any:
    import os

    os.environ["HF_HUB_OFFLINE"] = "1"  # a folder is all there is to read; some versions look for updates
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)  # one process a core is what the engine counts on, and sums depend on it
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # weights of a decoder that is not wanted are no news
    try:
        return load().eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"acoustics.speech_model.path: {path} cannot be loaded: {error}") from error
