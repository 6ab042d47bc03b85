"""What pretraining teaches: labels of segments, tracks on every frame, hidden spans; with their heads and their loss.

Goncalves & Busso, Interspeech 2022: three pretext labels (energy variation, facial activation, emotion from action
units), any subset of them; the losses are added. Tracks and hidden spans are ours (``trainer.data.tracks``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import IntArray
from trainer.data.dataset import ChunkDataset
from trainer.data.rows import MISSING, class_indices, label_names, speaker_keys, text
from trainer.data.shards import Shards
from trainer.data.splits import assert_disjoint, hold_out_speakers, unlabelled_subset
from trainer.data.tracks import DENSE, RECONSTRUCTION, FrameTargets, TrackScale
from trainer.errors import InputError
from trainer.models.checkpoint import ModelSpec
from trainer.models.encoders import CHUNK_ENCODERS
from trainer.objectives import Hard
from trainer.objectives.losses import GuardedLoss, Loss, SummedLoss, TotalLoss, TrackLoss
from trainer.params import EncoderParams, PretrainParams

TASKS = {
    1: ("energy_variation", "t1_label"),
    2: ("facial_activation", "t2_label"),
    3: ("au_emotion", "t3_label"),
}


@dataclass(frozen=True)
class Pretext:
    """The pretext targets of a shard folder, and which of its rows train, stop early and measure."""

    shards: Shards
    options: PretrainParams
    targets: dict[str, IntArray]  # by task: (N,) class index of every shard row, `MISSING` where there is no label
    heads: dict[str, Hard]  # by task
    frames: FrameTargets | None  # None without frame heads
    train: IntArray
    dev: IntArray
    held_out: IntArray
    side: str  # what the held-out rows are called, test or dev
    speakers: npt.NDArray[np.object_]  # (N,) key of every shard row

    @classmethod
    def of(cls, shards: Shards, options: PretrainParams, encoder: EncoderParams) -> Pretext:
        """Read labels and rows; raises InputError for a task without two classes and for leaking given splits."""
        classes: dict[str, list[str]] = {}
        targets: dict[str, IntArray] = {}
        for number in options.tasks:
            name, column = TASKS[number]
            labels = list(shards.rows[column]) if column in shards.rows else []
            classes[name] = label_names(labels)
            if len(classes[name]) < 2:
                raise InputError(
                    f"task {number} ({name}): column {column} of {shards.folder} has {len(classes[name])} class(es), "
                    f"two are needed; see the reasons in the pseudo-label table, or leave {number} out of "
                    "pretrain.tasks"
                )
            targets[name] = class_indices(labels, classes[name])
        # every row has frames to learn from; without frame targets only those with a label have
        labelled = [target != MISSING for target in targets.values()]
        every = bool(options.dense or options.reconstruct)
        usable = np.arange(len(shards.rows)) if every else np.flatnonzero(np.any(labelled, axis=0))
        train, dev, held_out, side, speakers = _split(shards, usable, options)
        frames = _frame_targets(shards, train, options, encoder, speakers)
        heads = {name: Hard(tuple(labels)) for name, labels in classes.items()}
        return cls(shards, options, targets, heads, frames, train, dev, held_out, side, speakers)

    def dataset(self, spec: ModelSpec, rows: IntArray) -> ChunkDataset:
        """Rows with all their targets, as the network's input."""
        return spec.dataset(
            self.shards, rows, {name: target[rows] for name, target in self.targets.items()}, frames=self.frames
        )

    def loss(self) -> TotalLoss:
        """Sum over tasks, tracks and hidden spans, each by its weight; class weights are the training rows'."""
        options = self.options
        parts: dict[str, Loss] = {}
        weights: dict[str, float] = {}
        for number in options.tasks:
            name = TASKS[number][0]
            own = self.targets[name][self.train]
            parts[name] = self.heads[name].loss(own, label_smoothing=options.label_smoothing)
            weights[name] = options.task_weights[number - 1]
        if options.dense:
            parts[DENSE], weights[DENSE] = TrackLoss(options.dense_loss), options.dense_weight
        if options.reconstruct:
            parts[RECONSTRUCTION], weights[RECONSTRUCTION] = TrackLoss(), options.reconstruct
        return GuardedLoss(SummedLoss(parts, weights), options.variance)

    def counts(self, name: str, rows: IntArray) -> dict[str, int]:
        """How many of ``rows`` have each label of task ``name``, and how many none."""
        indices = self.targets[name][rows]
        counts = {label: int((indices == number).sum()) for number, label in enumerate(self.heads[name].names)}
        return {**counts, "none": int((indices == MISSING).sum())}


def _split(
    shards: Shards, usable: IntArray, options: PretrainParams
) -> tuple[IntArray, IntArray, IntArray, str, npt.NDArray[np.object_]]:
    """Training, early-stopping and measuring rows among ``usable``; the latter's name; speaker keys of all rows.

    Given dev and test rows are used; without dev rows, whole training speakers are held out; without test rows the
    measures are taken on the dev speakers (who also chose the epoch, and the metrics say "dev").
    """
    speakers = speaker_keys(shards.rows, unknown_is_own=True)
    split = text(shards.rows, "split")[usable]
    test = usable[split == "test"]
    dev = usable[split == "dev"]
    train = usable[(split != "test") & (split != "dev")]
    if not len(train):
        raise InputError(f"{shards.folder}: no training rows with a label of tasks {list(options.tasks)}")
    if not len(dev):
        rng = np.random.default_rng(options.seed)
        kept, held = hold_out_speakers(shards.rows.iloc[train], speakers[train], share=options.dev_share, rng=rng)
        train, dev = train[kept], train[held]
    if options.unlabelled_fraction < 1:
        rng = np.random.default_rng([options.seed, 1])  # not the draw of the dev speakers
        fraction, by = options.unlabelled_fraction, options.unlabelled_by
        train = train[unlabelled_subset(shards.rows.iloc[train], fraction=fraction, by=by, rng=rng)]
    assert_disjoint({"train": speakers[train], "dev": speakers[dev], "test": speakers[test]})
    held_out, side = (test, "test") if len(test) else (dev, "dev")
    return train, dev, held_out, side, speakers


def _frame_targets(
    shards: Shards,
    train: IntArray,
    options: PretrainParams,
    encoder: EncoderParams,
    speakers: npt.NDArray[np.object_],
) -> FrameTargets | None:
    """Return what the frame heads follow, scaled by training rows; None without frame heads."""
    if not (options.dense or options.reconstruct):
        return None
    probe = CHUNK_ENCODERS[encoder.chunk_encoder](len(shards.feature_names), encoder)
    scale = None
    if options.dense:
        groups = shards.metadata.get("dense", {}).get("groups", {})
        missing = [group for group in options.dense if not groups.get(group)]
        if missing:
            raise InputError(
                f"{shards.folder} has no dense targets of group(s) {', '.join(missing)} (pretrain.dense): name them in "
                "shards.dense.groups and run the shards stage again, or leave them out"
            )
        names = [name for group in options.dense for name in groups[group]]
        scale = TrackScale.fit(shards, train, names, centre=options.dense_centre, clip=encoder.clip, speakers=speakers)
    return FrameTargets(step=int(probe.step), scale=scale, reconstruct=options.reconstruct > 0)  # type: ignore[arg-type]


def pretext_summary(config: Mapping[str, Any]) -> str:
    """Return what a pretrained model's ``config.json`` says it learnt from.

    >>> pretext_summary({"tasks": [1, 3], "dense": ["energy"], "frame_targets": {"reconstruct": True}})
    '1+3+energy+masked'
    """
    masked = config.get("frame_targets", {}).get("reconstruct", False)
    return "+".join([*map(str, config["tasks"]), *config.get("dense", []), *(["masked"] if masked else [])])
