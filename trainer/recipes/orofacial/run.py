"""One network of the recipe ``orofacial``: from rows of shards to a model folder and its measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trainer.data.arrays import IntArray
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.rows import class_indices, speaker_keys, text
from trainer.data.shards import Shards
from trainer.data.tracks import DENSE, VISEME, FrameTargets, TrackScale
from trainer.models.checkpoint import save_model
from trainer.objectives.losses import CrossEntropy, Loss, SummedLoss, TrackLoss, balanced_weights
from trainer.objectives.metrics import classification
from trainer.params import Params
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
class FrameCrossEntropy:
    """Class-weighted cross-entropy over all frames that have a class; 0 without gradients if none has."""

    base: CrossEntropy

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """(..., K) scores and (...) classes to a scalar."""
        return self.base(logits.flatten(0, -2), target.flatten())


class FaceRun:
    """One network of the recipe: its data, training and measures."""

    def __init__(
        self,
        shards: Shards,
        rows: Parts,
        params: Params,
        seed: int,
        structure: Structure,
        classes: dict[str, tuple[str, ...]],
    ) -> None:
        self.rows, self.params, self.seed = rows, params, seed
        options = params.orofacial
        speakers = speaker_keys(shards.rows, unknown_is_own=True)
        scale = TrackScale.fit(
            shards,
            rows.train,
            shards.frame_names["mouth"],
            centre=options.centre,
            clip=TARGET_CLIP,
            speakers=speakers,
            source="mouth",
        )
        if VISEME in classes and options.viseme == "shapes":
            shards = with_mouth_shapes(shards, rows.train, scale, count=options.shapes, seed=seed)
        self.shards = shards
        self.frames = FrameTargets(1, scale, visemes=VISEME in classes)
        self.spec = FaceSpec(
            structure=structure,
            hidden=options.hidden,
            layers=options.layers,
            dropout=options.dropout,
            classes=classes,
            feature_names=shards.feature_names,
            frame_period=shards.frame_period,
            normalisation=Normalisation.fit(shards, rows.train, clip=options.clip),
            scale=scale,
            rest=scale.centres[rows.train].mean(axis=0),
        )

    def _data(self, rows: IntArray) -> ChunkDataset:
        """Return rows with all targets of this network."""
        targets = {}
        if EMOTION in self.spec.classes:
            labels = list(text(self.shards.rows.iloc[rows], self.params.orofacial.emotion))
            targets[EMOTION] = class_indices(labels, self.spec.classes[EMOTION])
        return self.spec.dataset(self.shards, rows, targets, frames=self.frames)

    def train(self) -> dict[str, Any]:
        """Train, measure on held-out sentences and speakers, and return a row of results."""
        options, device = self.params.orofacial, self.params.trainer.device
        train = self._data(self.rows.train)
        # early stopping watches the movement alone, whatever is learnt beside it
        dev = self.spec.dataset(self.shards, self.rows.dev, frames=FrameTargets(1, self.spec.scale))
        losses: dict[str, Loss] = {DENSE: TrackLoss(options.loss)}
        weights = {DENSE: 1.0, VISEME: options.viseme_weight, EMOTION: options.emotion_weight}
        for task, names in self.spec.classes.items():
            balanced = balanced_weights(train.truth()[task].flatten().numpy(), len(names))
            plain = CrossEntropy(balanced, options.label_smoothing)
            losses[task] = FrameCrossEntropy(plain) if task == VISEME else plain
        make_deterministic(self.params.trainer, seed=self.seed)
        self.network: FaceNetwork = self.spec.build()
        self.fitted: Fitted = fit(
            self.network,
            train,
            dev,
            heads={},
            loss=SummedLoss(losses, weights),
            schedule=options,
            seed=self.seed,
            device=device,
        )
        self.measures = {
            name: self._measure(rows)
            for name, rows in (("sentences", self.rows.sentences), ("speakers", self.rows.speakers))
            if len(rows)
        }
        size = sum(parameter.numel() for parameter in self.network.parameters())
        row: dict[str, Any] = {"structure": self.spec.structure, "tasks": "+".join(("movement", *self.spec.classes))}
        row |= {"seed": self.seed, "parameters": size, "best_epoch": self.fitted.best_epoch}
        row |= {"dev_score": self.fitted.best_score, "loss": options.loss}
        row |= {f"n_{name}": len(getattr(self.rows, name)) for name in ("train", "dev", "sentences", "speakers")}
        for name, values in self.measures.items():
            row |= {f"{name}_{key}": value for key, value in values.items() if not isinstance(value, dict)}
        return row

    def _measure(self, rows: IntArray) -> dict[str, Any]:
        data = self._data(rows)
        told: Outputs = run_network(self.network, data, batch_size=64, device=self.params.trainer.device)
        truth, scale = data.truth(), self.spec.scale
        guess, seen = (scale.std * values[DENSE][:, 0].numpy() for values in (told.logits, truth))
        found = per_coordinate(guess, seen, frame_period=self.shards.frame_period)
        result = summary(found, scale.names)
        for task in self.spec.classes:
            meant, said = truth[task].flatten().numpy(), told.logits[task].argmax(dim=-1).flatten().numpy()
            has = meant >= 0
            if has.any():
                result |= {f"{task}_{key}": classification(meant[has], said[has])[key] for key in ("uar", "chance")}
        result["coordinates"] = {
            name: {key: None if np.isnan(value) else float(value) for key, value in zip(found, values, strict=True)}
            for name, *values in zip(scale.names, *found.values(), strict=True)
        }
        return result

    def save(self, folder: Path, row: dict[str, Any]) -> None:
        """Write the model folder; ``row`` of `train` goes into its metrics."""
        keys = speaker_keys(self.shards.rows, unknown_is_own=True)
        provenance = {
            "corpora": sorted(set(text(self.shards.rows.iloc[self.rows.train], "corpus"))),
            "speakers": sorted(set(keys[np.concatenate([self.rows.train, self.rows.dev])])),
            "seed": self.seed,
            "data": {"shards": self.shards.fingerprint},
            "shards_metadata": {key: value for key, value in self.shards.metadata.items() if key != "feature_names"},
            "params": self.params.model_dump(mode="json", include={"trainer", "orofacial"}),
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
