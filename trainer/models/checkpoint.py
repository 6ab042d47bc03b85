"""Checkpoints: folders of model.safetensors, config.json, metrics.json and history.csv. No pickles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar, cast

import numpy.typing as npt
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from trainer.data.chunking import LENGTHS, Chunking
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.rows import Target
from trainer.data.shards import Shards
from trainer.data.tracks import FrameTargets
from trainer.errors import InputError
from trainer.models.network import Network
from trainer.objectives import Objective, restore_objective
from trainer.params import EncoderParams
from trainer.store import package_versions, replace_folder, seal, write_json

FORMAT = 1


class Spec(Protocol):
    """What ``config.json`` holds of a kind of model: enough to build its network again."""

    kinds: ClassVar[tuple[str, ...]]  # values of ``kind`` in ``config.json`` that it reads

    def to_json(self) -> dict[str, Any]:
        """As written to ``config.json``: ``format``, ``kind`` and what `from_json` needs."""
        ...

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Inverse of `to_json`; further keys are ignored."""
        ...

    def build(self) -> nn.Module:
        """Make a network with fresh weights."""
        ...


S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class ModelSpec:
    """All but the weights that a network needs to run on new shards; ``config.json`` holds it."""

    kinds: ClassVar[tuple[str, ...]] = ("pretrain", "finetune")

    kind: str  # one of these
    encoder: EncoderParams
    head_hidden: int
    heads: dict[str, Objective]  # by target
    feature_names: tuple[str, ...]
    frame_period: float  # s
    chunking: Chunking
    normalisation: Normalisation
    frames: FrameTargets | None = None  # of the frame heads of a pretrained network

    def build(self) -> Network:
        """Make a network with fresh weights, drawn from torch's global generator."""
        sizes = {target: len(objective.names) for target, objective in self.heads.items()}
        return Network(
            len(self.feature_names),
            self.encoder,
            outputs=sizes,
            head_hidden=self.head_hidden,
            n_tracks=self.frames.n_tracks if self.frames is not None else 0,
            reconstruct=self.frames is not None and self.frames.reconstruct,
        )

    def dataset(
        self, shards: Shards, rows: npt.ArrayLike, targets: Mapping[str, Target] | None = None, **options: Any
    ) -> ChunkDataset:
        """Rows of ``shards`` as this network's input, with further ``options`` of `ChunkDataset`.

        Raises InputError if the features are not the ones that the network knows.
        """
        self.check(shards)
        chunking, normalisation = self.chunking, self.normalisation
        return ChunkDataset(shards, rows, chunking=chunking, normalisation=normalisation, targets=targets, **options)

    def check(self, shards: Shards) -> None:
        """Raise InputError unless the shards hold the features and the frame period of training."""
        check_features(shards, self.feature_names, self.frame_period)

    def to_json(self) -> dict[str, Any]:
        """As written to ``config.json``."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "architecture": self.encoder.model_dump(mode="json"),
            "head_hidden": self.head_hidden,
            "labels": {target: list(objective.names) for target, objective in self.heads.items()},
            "objectives": {target: objective.to_json() for target, objective in self.heads.items()},
            "feature_names": list(self.feature_names),
            "frame_period": self.frame_period,
            "chunking": {"frames": self.chunking.frames, "count": self.chunking.count},
            "normalisation": self.normalisation.to_json(),
            **({} if self.frames is None else {"frame_targets": self.frames.to_json()}),
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ModelSpec:
        """Inverse of `to_json`; further keys are ignored."""
        kinds = raw.get("objectives", {})  # a folder written before there were others: one class
        encoder = EncoderParams.model_validate(raw["architecture"])
        return cls(
            kind=raw["kind"],
            encoder=encoder,
            head_hidden=raw["head_hidden"],
            heads={
                target: restore_objective(names, kinds.get(target, {"kind": "hard"}))
                for target, names in raw["labels"].items()
            },
            feature_names=tuple(raw["feature_names"]),
            frame_period=raw["frame_period"],
            chunking=LENGTHS[encoder.length](**raw["chunking"]),
            normalisation=Normalisation.from_json(raw["normalisation"]),
            frames=FrameTargets.from_json(raw["frame_targets"]) if "frame_targets" in raw else None,
        )


def check_features(shards: Shards, feature_names: tuple[str, ...], frame_period: float) -> None:
    """Raise InputError unless the shards hold these features, every ``frame_period`` s."""
    if shards.feature_names != feature_names:
        raise InputError(f"{shards.folder}: its features are not those the model was trained on")
    if shards.frame_period != frame_period:
        raise InputError(f"{shards.folder}: frame period {shards.frame_period} s, the model knows {frame_period} s")


@dataclass(frozen=True)
class Checkpoint:
    """A model read back from its folder."""

    spec: ModelSpec
    network: Network
    config: dict[str, Any]
    fingerprint: str  # of weights and config


def save_model(
    folder: str | Path,
    network: nn.Module,
    *,
    spec: Spec,
    provenance: dict[str, Any],
    metrics: dict[str, Any],
    history: pd.DataFrame,
    extra: Callable[[Path], None] | None = None,
) -> None:
    """Write a checkpoint as a whole: a killed run leaves the old folder or the new one, never a mixture.

    ``provenance`` (parent, data fingerprints, parameters) is added to ``config.json``; ``extra`` may write further
    files into the folder before it appears.
    """

    def fill(work: Path) -> None:
        weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
        save_file(weights, work / "model.safetensors")
        write_json(work / "config.json", {**spec.to_json(), **provenance, "packages": package_versions()})
        write_json(work / "metrics.json", metrics)
        history.to_csv(work / "history.csv", index=False)
        if extra is not None:
            extra(work)
        seal(work)

    replace_folder(Path(folder), fill)


def load_model(folder: str | Path) -> Checkpoint:
    """Read a checkpoint of pretraining or fine-tuning back; see `read_model`."""
    spec, network, config, fingerprint = read_model(folder, ModelSpec)
    return Checkpoint(spec, cast(Network, network), config, fingerprint)


def read_model(folder: str | Path, kind: type[S]) -> tuple[S, nn.Module, dict[str, Any], str]:
    """Read a checkpoint of one kind back: its spec, the network, the whole ``config.json``, the fingerprint.

    Raises InputError if the folder is missing, damaged or of another kind, or its weights do not fit its architecture.
    """
    folder = Path(folder)
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is no model folder: {', '.join(missing)} is missing")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise InputError(f"{folder}: model format {config['format']}, this trainer reads {FORMAT}")
        if config["kind"] not in kind.kinds:
            raise InputError(f"{folder} holds a model of kind {config['kind']!r}, not {' or '.join(kind.kinds)}")
        spec = kind.from_json(config)
        network = spec.build()
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder} is a damaged model folder ({error}): train it again") from None
    network.eval()
    return spec, network, config, model_fingerprint(folder)


def model_kind(folder: str | Path) -> str | None:
    """Return which kind of model a folder holds, None if its ``config.json`` does not name one."""
    try:
        kind = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        return None
    return kind if isinstance(kind, str) else None


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over weights and config."""
    digest = hashlib.sha256()
    for name in ("model.safetensors", "config.json"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
