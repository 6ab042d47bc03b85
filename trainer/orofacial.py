"""The recipe ``orofacial``: mouth movement from speech, learnt alone and with visemes and emotion beside it.

After Sadoughi & Busso (FG 2018). Every seed draws held-out sentences; every structure and every set of tasks is trained
on the same rows and stopped by the same criterion, the movement on further held-out sentences, so that one run compares
them. Speakers with few clips are never trained on and are measured besides. Sizes, weights and protocol are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from trainer.chunking import IntArray
from trainer.data import ChunkDataset, Normalisation, class_indices, label_names
from trainer.dense import DENSE, VISEME, FrameTargets, TrackLoss, TrackScale
from trainer.errors import InputError
from trainer.facenet import EMOTION, FaceNetwork, FaceSpec, Structure
from trainer.folder import save_model
from trainer.loop import Fitted, Outputs, fit, make_deterministic, run_network
from trainer.losses import CrossEntropy, Loss, SummedLoss, balanced_weights
from trainer.metrics import classification
from trainer.movement import per_coordinate, summary
from trainer.orofacial_report import write_report
from trainer.params import OrofacialParams, Params
from trainer.protocol import speaker_keys, text
from trainer.shards import Shards, open_shards

MIN_CLASS = 10  # training segments that an emotion needs: of fewer nothing is learnt but their weight [ours]
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


def parts(shards: Shards, options: OrofacialParams, *, seed: int) -> Parts:
    """Draw a seed's rows; clips stay whole.

    Held out as speakers: the splits dev and test, and, if anyone has ``min_clips`` clips, everyone with fewer. Raises
    InputError if no movement was seen, or too little is left to train on.
    """
    rows = shards.rows
    if not shards.frame_names.get("mouth"):
        raise InputError(f"{shards.folder} has no column mouth: run `dvc repro recipes/orofacial/dvc.yaml`")
    seen = np.array(
        [bool(np.isfinite(shards.mouth[a:b]).any()) for a, b in zip(shards.offsets, shards.offsets[1:], strict=False)]
    )
    corpora = text(rows, "corpus")
    unknown = set(options.corpora) - set(corpora)
    if unknown:
        raise InputError(f"orofacial.corpora: {', '.join(sorted(unknown))} not in {shards.folder}")
    wanted = np.flatnonzero(seen & (np.isin(corpora, options.corpora) if options.corpora else True))
    keys, clips = speaker_keys(rows, unknown_is_own=True)[wanted], text(rows, "clip_id")[wanted]
    count = pd.DataFrame({"key": keys, "clip": clips}).groupby("key")["clip"].nunique()
    few = np.array([count[key] < options.min_clips for key in keys], dtype=bool)
    unseen = np.isin(text(rows, "split")[wanted], ["dev", "test"]) | (few if not few.all() else False)
    # a speaker on two sides of a given split is held out as a whole
    unseen = np.isin(keys, np.unique(keys[unseen]))
    pool = np.array(sorted(set(clips[~unseen])), dtype=object)
    n_test, n_dev = (max(1, round(share * len(pool))) for share in (options.test_share, options.dev_share))
    if len(pool) < n_test + n_dev + 2:
        raise InputError(
            f"{shards.folder}: {len(pool)} clips of speakers to train on; lower orofacial.min_clips or add films"
        )
    order = np.random.default_rng(seed).permutation(pool)
    sides = np.split(order, [n_test, n_test + n_dev])
    sentences, dev, train = (wanted[~unseen & np.isin(clips, side)] for side in sides)
    return Parts(train, dev, sentences, wanted[unseen])


def orofacial(
    shards_folder: str | Path,
    out: str | Path,
    reports: str | Path,
    params: Params,
    *,
    cache: str | Path = ".cache/trainer",
    on_start: Callable[[int], None] | None = None,
    on_unit: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train and compare all structures and sets of tasks; write models and reports, return the runs.

    ``out``: ``<structure>_movement[_viseme][_emotion]/``, of the seed that was best on its early-stopping sentences.
    ``reports``: orofacial.parquet, .csv (a row a run) and .md (means, spreads, paired differences). A secondary
    task that the shards have no labels for is left out, and the report says so. Raises InputError as `parts` does.
    """
    options = params.orofacial
    shards = open_shards(shards_folder, cache=cache)
    drawn = {seed: parts(shards, options, seed=seed) for seed in options.seeds}
    classes = {seed: _classes(shards, drawn[seed].train, options) for seed in options.seeds}
    there = set.intersection(*(set(found) for found in classes.values()))
    tasks = list(dict.fromkeys(tuple(name for name in names if name in there) for names in options.tasks))
    left_out = sorted({name for names in options.tasks for name in names} - there)
    if on_start is not None:
        on_start(len(options.seeds) * len(options.structures) * len(tasks))
    runs: list[dict[str, Any]] = []
    best: dict[str, float] = {}
    for seed in options.seeds:
        for structure in options.structures:
            for names in tasks:
                wanted: dict[str, tuple[str, ...]] = {name: classes[seed][name] for name in names}
                run, name = _Run(shards, drawn[seed], params, seed, structure, wanted), model_name(structure, names)
                row = run.train()
                if row["dev_score"] > best.get(name, -np.inf):
                    best[name] = row["dev_score"]
                    run.save(Path(out) / name)
                runs.append(row)
                if on_unit is not None:
                    on_unit(f"{name}, seed {seed}")
    table = pd.DataFrame(runs)
    write_report(table, Path(reports), left_out=left_out)
    return table


def model_name(structure: str, tasks: tuple[str, ...]) -> str:
    """Return the folder name of a trained network.

    >>> model_name("shared", ("viseme",))
    'shared_movement_viseme'
    """
    return "_".join((structure, "movement", *tasks))


def _classes(shards: Shards, train: IntArray, options: OrofacialParams) -> dict[str, tuple[str, ...]]:
    """Return secondary task -> classes, for those that the training rows have labels for."""
    found: dict[str, tuple[str, ...]] = {}
    visemes = shards.frame_names.get("viseme", ())
    if visemes and any((shards.viseme[shards.offsets[row] : shards.offsets[row + 1]] >= 0).any() for row in train):
        found["viseme"] = visemes
    labels = text(shards.rows.iloc[train], options.emotion)
    frequent = tuple(name for name in label_names(list(labels)) if (labels == name).sum() >= MIN_CLASS)
    if len(frequent) >= 2:
        found["emotion"] = frequent
    return found


class _Run:
    """One network: its data, training and measures."""

    def __init__(
        self,
        shards: Shards,
        rows: Parts,
        params: Params,
        seed: int,
        structure: Structure,
        classes: dict[str, tuple[str, ...]],
    ) -> None:
        self.shards, self.rows, self.params, self.seed = shards, rows, params, seed
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

    def save(self, folder: Path) -> None:
        """Write the model folder."""
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
        metrics = {**self.measures, "best_epoch": self.fitted.best_epoch, "dev_score": self.fitted.best_score}
        save_model(
            folder,
            self.network,
            spec=self.spec,
            provenance=provenance,
            metrics=_finite(metrics),
            history=self.fitted.history,
        )


def _finite(value: Any) -> Any:
    """Replace NaN, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
