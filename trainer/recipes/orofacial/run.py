"""One run of the recipe ``orofacial``: from rows of shards to a model folder and its measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trainer.data.arrays import IntArray
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.rows import class_indices, text
from trainer.data.shards import Shards
from trainer.data.tracks import DENSE, VISEME, FrameTargets, TrackScale
from trainer.models.checkpoint import save_model
from trainer.objectives.losses import CrossEntropy, Loss, SummedLoss, TrackLoss, balanced_weights
from trainer.objectives.metrics import classification
from trainer.params import OrofacialParams, RuntimeParams
from trainer.recipes.orofacial.mouth_shapes import with_mouth_shapes
from trainer.recipes.orofacial.movement import per_coordinate, summary
from trainer.recipes.orofacial.network import EMOTION, FaceNetwork, FaceSpec, Structure
from trainer.training.loop import Fitted, Outputs, fit, make_deterministic, run_network

TARGET_CLIP = 10.0  # standard deviations; a guard against a face that slipped, not a part of the method [ours]


@dataclass(frozen=True)
class Parts:
    """Row indices of one seed. ``speakers``: rows of people who are never trained on."""

    train: IntArray
    dev: IntArray
    sentences: IntArray
    speakers: IntArray


@dataclass(frozen=True)
class FaceRun:
    """What one training is: a seed and the rows it draws, a structure, and the classes of its secondary tasks."""

    seed: int
    structure: Structure
    classes: dict[str, tuple[str, ...]]
    rows: Parts
    key: str  # of its content; names its folder among the finished runs
    emotion: str  # column of the labels of emotion

    @property
    def name(self) -> str:
        """Folder name of the trained network."""
        return model_name(self.structure, tuple(self.classes))


def model_name(structure: str, tasks: tuple[str, ...]) -> str:
    """Return the folder name of a trained network.

    >>> model_name("shared", ("viseme",))
    'shared_movement_viseme'
    """
    return "_".join((structure, "movement", *tasks))


@dataclass(frozen=True)
class FrameCrossEntropy:
    """Class-weighted cross-entropy over all frames that have a class; 0 without gradients if none has."""

    base: CrossEntropy

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """(..., K) scores and (...) classes to a scalar."""
        return self.base(logits.flatten(0, -2), target.flatten())


class FaceTraining:
    """One run: its data, training and measures."""

    def __init__(self, shards: Shards, run: FaceRun, runtime: RuntimeParams, options: OrofacialParams) -> None:
        self.run, self.runtime, self.options = run, runtime, options
        train = run.rows.train
        scale = TrackScale.fit(
            shards,
            train,
            shards.frame_names["mouth"],
            centre=options.centre,
            clip=TARGET_CLIP,
            speakers=shards.speakers,
            source="mouth",
        )
        if VISEME in run.classes and options.viseme == "shapes":
            shards = with_mouth_shapes(shards, train, scale, count=options.shapes, seed=run.seed)
        self.shards = shards
        self.frames = FrameTargets(1, scale, visemes=VISEME in run.classes)
        self.spec = FaceSpec(
            structure=run.structure,
            hidden=options.hidden,
            layers=options.layers,
            dropout=options.dropout,
            classes=run.classes,
            feature_names=shards.feature_names,
            frame_period=shards.frame_period,
            normalisation=Normalisation.fit(shards, train, clip=options.clip),
            scale=scale,
            rest=scale.centres[train].mean(axis=0),
        )

    def _data(self, rows: IntArray) -> ChunkDataset:
        """Return rows with all targets of this network."""
        targets = {}
        if EMOTION in self.spec.classes:
            labels = list(text(self.shards.rows.iloc[rows], self.run.emotion))
            targets[EMOTION] = class_indices(labels, self.spec.classes[EMOTION])
        return self.spec.dataset(self.shards, rows, targets, frames=self.frames)

    def train(self) -> dict[str, Any]:
        """Train, measure on held-out sentences and speakers, and return a row of results."""
        options, rows = self.options, self.run.rows
        train = self._data(rows.train)
        # early stopping looks at the movement alone, whatever the secondary tasks
        dev = self.spec.dataset(self.shards, rows.dev, frames=FrameTargets(1, self.spec.scale))
        losses: dict[str, Loss] = {DENSE: TrackLoss(options.loss)}
        weights = {DENSE: 1.0, VISEME: options.viseme_weight, EMOTION: options.emotion_weight}
        for task, names in self.spec.classes.items():
            balanced = balanced_weights(train.truth()[task].flatten().numpy(), len(names))
            plain = CrossEntropy(balanced, options.label_smoothing)
            losses[task] = FrameCrossEntropy(plain) if task == VISEME else plain
        make_deterministic(self.runtime, seed=self.run.seed)
        self.network: FaceNetwork = self.spec.build()
        self.fitted: Fitted = fit(
            self.network,
            train,
            dev,
            heads={},
            loss=SummedLoss(losses, weights),
            schedule=options,
            seed=self.run.seed,
            device=self.runtime.device,
        )
        sides = {"sentences": rows.sentences, "speakers": rows.speakers}
        self.measures = {name: self._measure(side) for name, side in sides.items() if len(side)}
        size = sum(parameter.numel() for parameter in self.network.parameters())
        row: dict[str, Any] = {"structure": self.spec.structure, "tasks": "+".join(("movement", *self.spec.classes))}
        row |= {"seed": self.run.seed, "parameters": size, "best_epoch": self.fitted.best_epoch}
        row |= {"dev_score": self.fitted.best_score, "loss": options.loss}
        row |= {"held_out": options.held_out}
        row |= {"emotion_source": self.run.emotion} if EMOTION in self.spec.classes else {}
        row |= {f"n_{name}": len(getattr(rows, name)) for name in ("train", "dev", "sentences", "speakers")}
        for name, values in self.measures.items():
            row |= {f"{name}_{key}": value for key, value in values.items() if not isinstance(value, dict)}
        return row

    def _measure(self, rows: IntArray) -> dict[str, Any]:
        data = self._data(rows)
        outputs: Outputs = run_network(self.network, data, batch_size=64, device=self.runtime.device)
        truth, scale = data.truth(), self.spec.scale
        predicted, tracks = (scale.std * values[DENSE][:, 0].numpy() for values in (outputs.logits, truth))
        measured = per_coordinate(predicted, tracks, frame_period=self.shards.frame_period)
        result = summary(measured, scale.names)
        for task in self.spec.classes:
            labels, answers = truth[task].flatten().numpy(), outputs.logits[task].argmax(dim=-1).flatten().numpy()
            has = labels >= 0
            if has.any():
                result |= {f"{task}_{key}": classification(labels[has], answers[has])[key] for key in ("uar", "chance")}
        result["coordinates"] = {
            name: {key: None if np.isnan(value) else float(value) for key, value in zip(measured, values, strict=True)}
            for name, *values in zip(scale.names, *measured.values(), strict=True)
        }
        return result

    def save(self, folder: Path, row: dict[str, Any]) -> None:
        """Write the model folder; ``row`` of `train` goes into its metrics."""
        rows = self.run.rows
        provenance = {
            "corpora": sorted(set(self.shards.corpora[rows.train])),
            "speakers": sorted(set(self.shards.speakers[np.concatenate([rows.train, rows.dev])])),
            "seed": self.run.seed,
            "data": {"shards": self.shards.fingerprint},
            "shards_metadata": {key: value for key, value in self.shards.metadata.items() if key != "feature_names"},
            "params": {
                "trainer": self.runtime.model_dump(mode="json"),
                "orofacial": self.options.model_dump(mode="json"),
            },
            "parent": None,
        }
        chosen = {"best_epoch": self.fitted.best_epoch, "dev_score": self.fitted.best_score}
        save_model(
            folder,
            self.network,
            spec=self.spec,
            provenance=provenance,
            metrics=_finite({**self.measures, **chosen, "row": row}),
            history=self.fitted.history,
        )


def _finite(value: Any) -> Any:
    """Replace NaN, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
