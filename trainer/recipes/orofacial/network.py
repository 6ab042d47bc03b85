"""The network of the recipe ``orofacial``: acoustic frames in, mouth movement and secondary tasks out.

After Sadoughi & Busso (FG 2018): bidirectional recurrent layers that all tasks share, and either linear heads on them
(``shared``) or a recurrent layer of each task's own in between (``branches``) [paper]. Sizes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from trainer.data.arrays import FloatArray
from trainer.data.chunking import Chunking
from trainer.data.dataset import Batch, ChunkDataset
from trainer.data.metadata import Names
from trainer.data.normalisation import Normalisation
from trainer.data.shards import Shards
from trainer.data.tracks import DENSE, VECTORS, VISEME, FrameTargets, TrackScale
from trainer.models.checkpoint import FORMAT, check_features, read_model
from trainer.models.config_file import Entry, FramesEntry, InputEntries
from trainer.models.network import Head
from trainer.params.section import Layers, Size

Structure = Literal["shared", "branches"]
EMOTION = "emotion"


class Recurrent(nn.Module):
    """Bidirectional LSTM over the real frames; padding, which must come last, has no influence and comes out as 0."""

    def __init__(self, size: int, hidden: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(size, hidden, num_layers=layers, dropout=between, batch_first=True, bidirectional=True)
        self.width = 2 * hidden

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, F) and (B, T) to (B, T, 2 hidden)."""
        packed = pack_padded_sequence(x, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        out: Tensor = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]
        return out


class FaceNetwork(nn.Module):
    """Movement (`DENSE`) and, if among ``outputs``, `VISEME` on every frame and `EMOTION` of the utterance.

    ``outputs``: task to number of scores. An utterance is one chunk: `Batch` with nC = 1.
    """

    def __init__(
        self,
        n_features: int,
        *,
        outputs: Mapping[str, int],
        structure: Structure,
        hidden: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.bottom = Recurrent(n_features, hidden, layers=layers, dropout=dropout)
        width = self.bottom.width
        own = outputs if structure == "branches" else {}
        self.own = nn.ModuleDict({task: Recurrent(width, hidden, layers=1, dropout=dropout) for task in own})
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict(
            {task: Head(width, count, hidden=0, dropout=dropout) for task, count in outputs.items()}
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Scores: `DENSE` (B, 1, T, K), `VISEME` (B, 1, T, classes), `EMOTION` (B, classes), `VECTORS` (B, H).

        What stands in padded frames means nothing.
        """
        if batch.x.shape[1] != 1:
            raise ValueError(f"an utterance must be one chunk, not {batch.x.shape[1]}")
        x, mask = batch.x[:, 0], batch.frame_mask[:, 0]
        states = self.bottom(x, mask)
        scores = {VECTORS: _mean(states, mask)}
        states = self.dropout(states)
        for task, head in self.heads.items():
            branch = self.own[task](states, mask) if task in self.own else states
            scores[task] = head(_mean(branch, mask)) if task == EMOTION else head(branch).unsqueeze(1)
        return scores


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over real frames: (B, T, H), padded frames 0, and (B, T) to (B, H)."""
    return (states * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)


class FaceArchitecture(Entry):
    """Sizes of the network in ``config.json``."""

    structure: Structure
    hidden: Size
    layers: Layers
    dropout: float = Field(ge=0, lt=1)


class FaceConfig(InputEntries):
    """What ``config.json`` of this recipe may hold."""

    architecture: FaceArchitecture
    labels: dict[Literal["viseme", "emotion"], Annotated[Names, Field(min_length=1)]]
    frame_targets: FramesEntry
    rest: tuple[float, ...]


@dataclass(frozen=True)
class FaceSpec:
    """What is needed apart from the weights to run the network on new shards or new sound; ``config.json`` holds it."""

    kinds: ClassVar[tuple[str, ...]] = ("orofacial",)

    structure: Structure
    hidden: int
    layers: int
    dropout: float
    classes: dict[str, tuple[str, ...]]  # secondary task to its classes
    feature_names: tuple[str, ...]
    frame_period: float  # s
    normalisation: Normalisation
    scale: TrackScale  # of the coordinates
    rest: FloatArray = field(repr=False)  # (K,) mean face of the training speakers, where movement starts from

    def build(self) -> FaceNetwork:
        """Make a network with fresh weights, drawn from torch's global generator."""
        return FaceNetwork(
            len(self.feature_names),
            outputs={DENSE: len(self.scale.names), **{task: len(names) for task, names in self.classes.items()}},
            structure=self.structure,
            hidden=self.hidden,
            layers=self.layers,
            dropout=self.dropout,
        )

    def dataset(
        self, shards: Shards, rows: npt.ArrayLike, targets: Any = None, *, frames: FrameTargets | None = None
    ) -> ChunkDataset:
        """Rows of ``shards``, each as one whole chunk; raises InputError if its features are not those of training."""
        self.check(shards)
        rows = np.asarray(rows, dtype=np.int64)
        whole = Chunking(frames=int(shards.lengths[rows].max()), count=1)
        return ChunkDataset(
            shards, rows, chunking=whole, normalisation=self.normalisation, targets=targets, frames=frames
        )

    def check(self, shards: Shards) -> None:
        """Raise InputError unless the shards hold the features and the frame period of training."""
        check_features(shards, self.feature_names, self.frame_period)

    def move(self, network: FaceNetwork, features: FloatArray) -> FloatArray:
        """Turn the features (n_frames, F) of one utterance, as the pipeline gives them, into `coordinates`."""
        x = torch.from_numpy(self.normalisation.apply(features.astype(np.float32)))[None, None]
        mask = torch.ones(x.shape[:3], dtype=torch.bool)
        with torch.no_grad():
            scores = network.eval()(Batch(x, mask, mask[..., 0], {}))
        return self.coordinates(scores[DENSE][0, 0].numpy())

    def coordinates(self, scaled: FloatArray) -> FloatArray:
        """Network output (..., K) to coordinates on the mean face, in inter-ocular distances."""
        out: FloatArray = self.rest + self.scale.mean + self.scale.std * scaled
        return out

    def to_json(self) -> dict[str, Any]:
        """As written to ``config.json``."""
        return {
            "format": FORMAT,
            "kind": self.kinds[0],
            "architecture": {name: getattr(self, name) for name in ("structure", "hidden", "layers", "dropout")},
            "labels": {task: list(names) for task, names in self.classes.items()},
            "feature_names": list(self.feature_names),
            "frame_period": self.frame_period,
            "normalisation": self.normalisation.to_json(),
            "frame_targets": FrameTargets(1, self.scale, visemes=VISEME in self.classes).to_json(),
            "rest": self.rest.tolist(),
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Inverse of `to_json`, checked; further keys are ignored."""
        config = FaceConfig.model_validate(raw)
        scale = FrameTargets.from_json(config.frame_targets.model_dump()).scale
        if scale is None or len(config.rest) != len(scale.names):
            raise ValueError("frame_targets and rest must have the same tracks")
        return cls(
            **config.architecture.model_dump(),
            classes={str(task): names for task, names in config.labels.items()},
            feature_names=config.feature_names,
            frame_period=config.frame_period,
            normalisation=Normalisation.from_json(config.normalisation.model_dump()),
            scale=scale,
            rest=np.array(config.rest, np.float32),
        )


@dataclass(frozen=True)
class LoadedFace:
    """A model of this recipe, read back from its folder."""

    spec: FaceSpec
    network: FaceNetwork
    config: dict[str, Any]


def load_face(folder: Any) -> LoadedFace:
    """Read a model folder of this recipe; raises InputError as `trainer.models.checkpoint.read_model` does."""
    spec, network, config, _ = read_model(folder, FaceSpec)
    return LoadedFace(spec, cast(FaceNetwork, network), config)
