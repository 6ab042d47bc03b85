"""Pretext tasks: labels of segments, tracks on every frame, hidden spans; their rows, heads and loss.

Goncalves & Busso, Interspeech 2022: three pretext labels (energy variation, facial activation, emotion from action
units), any subset of them; the losses are added. Tracks and hidden spans are ours (``trainer.data.tracks``).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data.arrays import IntArray
from trainer.data.dataset import ChunkDataset
from trainer.data.rows import MISSING, Target, Texts, class_indices, label_names, text
from trainer.data.shards import Shards
from trainer.data.splits import assert_disjoint, hold_out_speakers, unlabelled_subset
from trainer.data.tracks import DENSE, FACE, MATCHING, RECONSTRUCTION, FrameTargets, TrackScale, has_targets
from trainer.errors import InputError, Notice
from trainer.models.checkpoint import ModelSpec
from trainer.models.encoders import CHUNK_ENCODERS
from trainer.objectives import Hard
from trainer.objectives.losses import (
    CrossEntropy,
    GuardedLoss,
    Loss,
    SummedLoss,
    TotalLoss,
    TrackLoss,
    balanced_weights,
)
from trainer.params import EncoderParams, PretrainParams
from trainer.pretraining import controls
from trainer.pretraining.matching import FaceVectors, MatchingLoss
from trainer.pretraining.tasks import TASKS
from trainer.pretraining.thresholds import refitted


@dataclass(frozen=True)
class Pretext:
    """The pretext targets of a shard folder of N rows, and which of them train, stop early and measure."""

    shards: Shards
    options: PretrainParams
    targets: dict[str, IntArray]  # by task: (N,) class indices, `MISSING` where there is no label
    heads: dict[str, Hard]  # by task
    frames: FrameTargets | None  # None without frame heads
    faces: FaceVectors | None  # None where voice and face are not matched
    train: IntArray
    dev: IntArray
    held_out: IntArray
    side: str  # what the held-out rows are called, test or dev
    unit: str  # what was held out whole: speakers; of a single speaker clips, of a single clip segments

    @classmethod
    def of(
        cls, shards: Shards, options: PretrainParams, encoder: EncoderParams, *, without: Collection[str] = ()
    ) -> Pretext:
        """Read labels and rows.

        Args:
            shards: of the films.
            options: section ``pretrain``.
            encoder: section ``encoder``; its step is that of the frame targets.
            without: keys of speakers who are not to be heard or seen: those whom a fold tests.

        Raises:
            InputError: a task has less than two classes, a given split leaks, no row is left, or dense targets are
                missing.
        """
        allowed = allowed_rows(shards, options, without=without)
        labels = {number: _labels(shards, number) for number in options.tasks}
        if without:  # the pipeline's thresholds know speakers who are left out here
            labels = {number: refitted(shards, number, own, allowed) for number, own in labels.items()}
        # every row has frames to learn from; without frame targets only those with a label have
        framed = bool(options.dense or options.reconstruct or options.matching)
        train, dev, test, unit = _split(shards, _with_labels(allowed, labels, framed=framed), options)
        labels = {number: _frequent(own, train, options, number) for number, own in labels.items()}
        labels = {number: controls.relabel(own, number, shards, allowed, options) for number, own in labels.items()}
        train, dev, test = (_with_labels(rows, labels, framed=framed) for rows in (train, dev, test))
        heads = {TASKS[number][0]: Hard(_classes(shards, own, number)) for number, own in labels.items()}
        targets = {
            TASKS[number][0]: class_indices(list(own), heads[TASKS[number][0]].names) for number, own in labels.items()
        }
        # without test rows the measures are taken on the dev speakers (who also chose the epoch; the metrics say "dev")
        held_out, side = (test, "test") if len(test) else (dev, "dev")
        frames = _frame_targets(shards, allowed, train, options, encoder)
        faces = None
        if options.matching:
            exchanged = options.faces == "exchanged"
            partners = controls.partners(shards, allowed, seed=options.seed) if exchanged else None
            faces = FaceVectors.of(shards, train, clip=encoder.clip, partners=partners)
            _check_matched(faces, dev, options, shards)
        return cls(shards, options, targets, heads, frames, faces, train, dev, held_out, side, unit)

    def dataset(self, spec: ModelSpec, rows: IntArray) -> ChunkDataset:
        """Rows with all their targets, as the network's input."""
        targets: dict[str, Target] = {name: target[rows] for name, target in self.targets.items()}
        if self.faces is not None:
            targets |= {MATCHING: self.faces.whose[rows], FACE: self.faces.vectors[rows]}
        return spec.dataset(self.shards, rows, targets, frames=self.frames)

    def loss(self) -> TotalLoss:
        """Sum over tasks, tracks and hidden spans, each by its weight; class weights are the training rows'."""
        options = self.options
        parts: dict[str, Loss] = {}
        weights: dict[str, float] = {}
        for number in options.tasks:
            name = TASKS[number][0]
            own = self.targets[name][self.train]
            weights_of = balanced_weights(own, len(self.heads[name].names), most=options.max_class_weight)
            parts[name] = CrossEntropy(weights_of, options.label_smoothing)
            weights[name] = options.task_weights[number - 1]
        if options.dense:
            parts[DENSE], weights[DENSE] = TrackLoss(options.dense_loss), options.dense_weight
        if options.reconstruct:
            parts[RECONSTRUCTION], weights[RECONSTRUCTION] = TrackLoss(), options.reconstruct
        if options.matching:
            parts[MATCHING], weights[MATCHING] = MatchingLoss(), options.matching
        return GuardedLoss(SummedLoss(parts, weights), options.variance)

    def counts(self, name: str, rows: IntArray) -> dict[str, int]:
        """How many of ``rows`` have each label of task ``name``, and how many none."""
        indices = self.targets[name][rows]
        counts = {label: int((indices == number).sum()) for number, label in enumerate(self.heads[name].names)}
        return {**counts, "none": int((indices == MISSING).sum())}


def _check_matched(faces: FaceVectors, dev: IntArray, options: PretrainParams, shards: Shards) -> None:
    """Say where held-out speakers cannot tell how well voices and faces match; they cannot choose an epoch then."""
    known = faces.speakers[dev][faces.speakers[dev] != MISSING]
    if len(known) and np.bincount(known).max() > 1:
        return
    message = f"{shards.folder}: no held-out speaker has two segments with a face, so that matching is not measured"
    if options.monitor != "last" and not (options.tasks or options.dense or options.reconstruct):
        raise InputError(f"{message} and no epoch can be chosen by it: set pretrain.monitor to last")
    warnings.warn(message, Notice, stacklevel=2)


def allowed_rows(shards: Shards, options: PretrainParams, *, without: Collection[str] = ()) -> IntArray:
    """Return the rows of the wanted corpora and of all speakers but ``without``.

    Raises:
        InputError: ``pretrain.corpora`` names one that is not there.
    """
    unknown = sorted(set(options.corpora) - set(shards.corpora))
    if unknown:
        there = ", ".join(sorted(set(shards.corpora)))
        raise InputError(f"pretrain.corpora names {', '.join(unknown)}; {shards.folder} holds {there}")
    wanted = np.isin(shards.corpora, options.corpora) if options.corpora else np.ones(len(shards.rows), bool)
    return np.flatnonzero(wanted & ~np.isin(shards.speakers, list(without)))


def _labels(shards: Shards, number: int) -> Texts:
    """Labels of a task, (N,), "" where there is none."""
    return text(shards.rows, TASKS[number][1])


def _with_labels(rows: IntArray, labels: Mapping[int, Texts], *, framed: bool) -> IntArray:
    """Those of ``rows`` that have a label of any task; all of them where every frame has a target."""
    if framed or not labels:
        return rows
    return rows[np.any([own[rows] != "" for own in labels.values()], axis=0)]


def _frequent(labels: Texts, train: IntArray, options: PretrainParams, number: int) -> Texts:
    """Leave out the labels of classes that too few training rows have, and say so."""
    found, counts = np.unique(labels[train], return_counts=True)
    rare = {
        str(name): int(count) for name, count in zip(found, counts, strict=True) if name and count < options.min_class
    }
    rare |= dict.fromkeys(set(label_names(list(labels))) - set(found), 0)
    if not rare:
        return labels
    name = TASKS[number][0]
    some = ", ".join(f"{label} ({count})" for label, count in sorted(rare.items()))
    warnings.warn(
        f"task {number} ({name}): {some}: fewer training segments than pretrain.min_class, left out",
        Notice,
        stacklevel=2,
    )
    return np.where(np.isin(labels, list(rare)), "", labels).astype(object)


def _classes(shards: Shards, labels: Texts, number: int) -> tuple[str, ...]:
    """Classes of a task, at least two."""
    name, column = TASKS[number]
    classes = label_names(list(labels))
    if len(classes) < 2:
        raise InputError(
            f"task {number} ({name}): column {column} of {shards.folder} has {len(classes)} class(es) of at least "
            "pretrain.min_class training segments, two are needed; see the reasons in the pseudo-label table, or leave "
            f"{number} out of pretrain.tasks"
        )
    return tuple(classes)


def _split(shards: Shards, usable: IntArray, options: PretrainParams) -> tuple[IntArray, IntArray, IntArray, str]:
    """Training, early-stopping and test rows among ``usable``, and what was held out whole.

    Given dev and test rows are used; without dev rows, whole training speakers are held out. With one speaker alone
    there is nobody to stop early on; where that is not asked for (monitor last), some of their clips are held out, to
    measure on.
    """
    unit = "speakers"
    speakers = shards.speakers
    split = text(shards.rows, "split")[usable]
    test, dev = usable[split == "test"], usable[split == "dev"]
    train = usable[(split != "test") & (split != "dev")]
    if not len(train):
        raise InputError(
            f"{shards.folder}: no training rows with a label of tasks {list(options.tasks)}; see the reasons in the "
            "pseudo-label table"
        )
    if not len(dev):
        rng = np.random.default_rng(options.seed)
        keys = speakers[train]
        if options.monitor == "last" and len(set(keys)) == 1:
            unit = "clips" if len(set(shards.clips[train])) > 1 else "segments"
            keys = shards.clips[train] if unit == "clips" else text(shards.rows, "segment_id")[train]
        if len(set(keys)) == 1 and unit == "segments":
            raise InputError(f"{shards.folder}: one training segment alone leaves none to measure on: add films")
        kept, held = hold_out_speakers(shards.corpora[train], keys, share=options.dev_share, rng=rng)
        train, dev = train[kept], train[held]
    if options.unlabelled_fraction < 1:
        rng = np.random.default_rng([options.seed, 1])  # not the draw of the dev speakers
        fraction, by = options.unlabelled_fraction, options.unlabelled_by
        train = train[unlabelled_subset(shards.rows.iloc[train], fraction=fraction, by=by, rng=rng)]
    sides = {"train": speakers[train], "dev": speakers[dev] if unit == "speakers" else [], "test": speakers[test]}
    assert_disjoint(sides)
    return train, dev, test, unit


def _frame_targets(
    shards: Shards, allowed: IntArray, train: IntArray, options: PretrainParams, encoder: EncoderParams
) -> FrameTargets | None:
    """Targets of the frame heads, of the ``allowed`` rows, scaled by training rows; None without frame heads."""
    if not (options.dense or options.reconstruct):
        return None
    step = CHUNK_ENCODERS[encoder.chunk_encoder](len(shards.feature_names) // encoder.layers, encoder).step
    scale, groups = None, {}
    if options.dense:
        groups = shards.metadata.get("dense", {}).get("groups", {})
        missing = [group for group in options.dense if not groups.get(group)]
        if missing:
            raise InputError(
                f"{shards.folder} has no dense targets of group(s) {', '.join(missing)} (pretrain.dense): name them in "
                "shards.dense.groups and run the shards stage again, or leave them out"
            )
        names = _present(shards, train, options, groups)
        scale = TrackScale.fit(
            shards, train, names, centre=options.dense_centre, clip=encoder.clip, speakers=shards.speakers
        )
    moved = controls.moved_tracks(shards, allowed, options) if options.dense else None
    return FrameTargets(step=step, scale=scale, reconstruct=options.reconstruct > 0, moved=moved)


def _present(
    shards: Shards, train: IntArray, options: PretrainParams, groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """Names of the tracks with a target in any training frame; InputError if a whole group has none."""
    names = [name for group in options.dense for name in groups[group]]
    there = {name for name, some in zip(names, has_targets(shards, train, names), strict=True) if some}
    empty = [group for group in options.dense if not there.intersection(groups[group])]
    if empty:
        raise InputError(
            f"{shards.folder}: no training segment has a target of group(s) {', '.join(empty)} (pretrain.dense): no "
            "face or voice was found in the films; see the faces and acoustics tables, or leave the group(s) out"
        )
    missing = [name for name in names if name not in there]
    if missing:
        message = f"{shards.folder}: no training segment has a target of {', '.join(missing)}: left out of the tracks"
        warnings.warn(message, Notice, stacklevel=2)
    return [name for name in names if name in there]


def pretext_summary(config: Mapping[str, Any]) -> str:
    """Name what a parent model was taught, from its ``config.json``: its pretext tasks, or the target it was tuned to.

    >>> pretext_summary({"tasks": [1, 3], "dense": ["energy"], "frame_targets": {"reconstruct": True}})
    '1+3+energy+masked'
    """
    if config.get("kind") == "finetune":
        return "+".join(config.get("labels", {}))
    masked = config.get("frame_targets", {}).get("reconstruct", False)
    matched = config.get("face_size", 0)
    more = [*(["masked"] if masked else []), *(["matched"] if matched else [])]
    return "+".join([*map(str, config["tasks"]), *config.get("dense", []), *more])
