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
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from trainer.data.chunking import LENGTHS, Chunking
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.rows import Target
from trainer.data.shards import Shards
from trainer.data.tracks import FrameTargets
from trainer.errors import InputError
from trainer.models.config_file import ModelConfig
from trainer.models.layers import check_layers
from trainer.models.network import Network
from trainer.objectives import Objective, restore_objective
from trainer.params import EncoderParams
from trainer.store import changed_files, package_versions, replace_folder, seal, write_json

FORMAT = 2
READ = (1, FORMAT)  # 1: what was called rnn_attention then is lstm_attention now
_TYPES = {"F32": torch.float32, "I64": torch.int64}  # of weights, and of the counters of batch norms


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
    face_size: int = 0  # values that describe a face, where voice and face were matched

    def build(self) -> Network:
        """Make a network with fresh weights, drawn from torch's global generator.

        Raises InputError if the features are not the layers that ``encoder.layers`` says.
        """
        check_layers(self.feature_names, self.encoder.layers)
        sizes = {target: len(objective.names) for target, objective in self.heads.items()}
        return Network(
            len(self.feature_names),
            self.encoder,
            outputs=sizes,
            head_hidden=self.head_hidden,
            n_tracks=self.frames.n_tracks if self.frames is not None else 0,
            reconstruct=self.frames is not None and self.frames.reconstruct,
            n_face=self.face_size,
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
            **({"face_size": self.face_size} if self.face_size else {}),
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ModelSpec:
        """Inverse of `to_json`, checked; further keys are ignored."""
        config = ModelConfig.model_validate(raw)
        return cls(
            kind=config.kind,
            encoder=config.architecture,
            head_hidden=config.head_hidden,
            heads={
                target: restore_objective(list(names), config.objectives.get(target, {"kind": "hard"}))
                for target, names in config.labels.items()
            },
            feature_names=config.feature_names,
            frame_period=config.frame_period,
            chunking=LENGTHS[config.architecture.length](**config.chunking.model_dump()),
            normalisation=Normalisation.from_json(config.normalisation.model_dump()),
            frames=FrameTargets.from_json(config.frame_targets.model_dump()) if config.frame_targets else None,
            face_size=config.face_size,
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
        try:
            save_file(weights, work / "model.safetensors")
        except SafetensorError as error:
            raise OSError(f"{folder}: {error}") from None  # the disk is full, or the like
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
        if config["format"] not in READ:
            known = " and ".join(map(str, READ))
            raise InputError(f"{folder}: model format {config['format']}, this trainer reads {known}")
        config = _renamed(config)
        if config["kind"] not in kind.kinds:
            raise InputError(f"{folder} holds a model of kind {config['kind']!r}, not {' or '.join(kind.kinds)}")
        changed = changed_files(folder)
        if changed:
            raise ValueError(f"{', '.join(changed)} not as written")
        spec = kind.from_json(config)
        _check_shapes(spec, folder / "model.safetensors")
        network = spec.build()
        weights = load_file(folder / "model.safetensors")
        if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
            raise ValueError("weights that are no numbers")
        network.load_state_dict(weights)
    except (InputError, OSError):
        raise
    except Exception as error:  # whatever is wrong in a stranger's folder is one thing to the user
        raise InputError(f"{folder} is a damaged model folder ({_in_short(error)}): train it again") from None
    network.eval()
    return spec, network, config, model_fingerprint(folder)


def _renamed(config: dict[str, Any]) -> dict[str, Any]:
    """Give what an older format calls otherwise its name of today."""
    architecture = config.get("architecture", {})
    if config["format"] == 1 and architecture.get("aggregator") == "rnn_attention":
        return {**config, "architecture": {**architecture, "aggregator": "lstm_attention"}}
    return config


def _check_shapes(spec: Spec, weights: Path) -> None:
    """Raise ValueError unless a file holds the weights of a network, before memory is taken for either."""
    with torch.device("meta"):
        wanted = {name: (list(tensor.shape), tensor.dtype) for name, tensor in spec.build().state_dict().items()}
    with safe_open(weights, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        there = {name: (part.get_shape(), _TYPES.get(part.get_dtype())) for name, part in slices.items()}
    differing = sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))
    if differing:
        raise ValueError(f"the weights are not those of its architecture, e.g. {differing[0]}")


def _in_short(error: Exception) -> str:
    """Say what is wrong in one line; of a validation the first fields."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
    return f"{error or type(error).__name__}".splitlines()[0]


def model_kind(folder: str | Path) -> str | None:
    """Return which kind of model a folder holds, None if its ``config.json`` does not name one."""
    try:
        kind = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        return None
    return kind if isinstance(kind, str) else None


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over weights and config, but for ``front_end``: it changes no network that starts from this one."""
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    counted = {name: value for name, value in config.items() if name != "front_end"}
    digest.update(json.dumps(counted, sort_keys=True).encode())
    return digest.hexdigest()
