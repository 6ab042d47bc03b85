"""Pretraining: an encoder learns from unlabelled talking-face video what the face says about the voice.

Goncalves & Busso, Interspeech 2022: speech in, three pretext labels out (energy variation, facial activation,
emotion from action units), any non-empty subset of them; the losses are added. The head of a task is a small
projection that fine-tuning throws away [ours]. Beside the tasks or instead of them the encoder can follow what the
teachers say on every frame, or give back hidden spans of the voice (``trainer.dense``) [ours].
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.chunking import Chunking, IntArray, Window
from trainer.data import MISSING, ChunkDataset, Normalisation, class_indices, label_names, longest_seconds
from trainer.dense import DENSE, RECONSTRUCTION, FrameTargets, GuardedLoss, TrackLoss, TrackScale, correlations
from trainer.encoders import CHUNK_ENCODERS
from trainer.errors import InputError
from trainer.folder import ModelSpec, save_model
from trainer.loop import Outputs, fit, make_deterministic, measure, run_network
from trainer.losses import Loss, SummedLoss
from trainer.model import Network, dead_units, effective_rank
from trainer.objectives import Hard
from trainer.params import EncoderParams, Params
from trainer.protocol import assert_disjoint, hold_out_speakers, speaker_keys, text, unlabelled_subset
from trainer.shards import Shards, open_shards

TASKS = {
    1: ("energy_variation", "t1_label"),
    2: ("facial_activation", "t2_label"),
    3: ("au_emotion", "t3_label"),
}


def chunking_for(shards: Shards, rows: IntArray, encoder: EncoderParams) -> Chunking:
    """Fit the chunking of a corpus; ``max_seconds: auto`` is the longest of ``rows`` (training rows)."""
    if encoder.length == "crop":
        return Window.of(seconds=encoder.crop_seconds, frame_period=shards.frame_period)
    longest = longest_seconds(shards, rows) if encoder.max_seconds == "auto" else float(encoder.max_seconds)
    if encoder.length == "pad":
        return Window.of(seconds=longest, frame_period=shards.frame_period)
    return Chunking.fit(
        chunk_seconds=encoder.chunk_seconds,
        max_seconds=longest,
        chunks_per_second=encoder.chunks_per_second,
        frame_period=shards.frame_period,
    )


def pretrain(
    shards_folder: str | Path,
    out: str | Path,
    params: Params,
    *,
    cache: str | Path = ".cache/trainer",
    on_epoch: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Pretrain on a shard folder, write the model folder ``out``, return its metrics.

    The metrics hold, per task, measures on held-out speakers beside chance and the label counts; and the encoder's
    effective rank and share of dead units, before and after. Raises InputError for a task without two classes and for
    speakers on two sides of a given split.
    """
    options = params.pretrain
    shards = open_shards(shards_folder, cache=cache)
    classes: dict[str, list[str]] = {}
    targets: dict[str, IntArray] = {}
    for number in options.tasks:
        name, column = TASKS[number]
        labels = list(shards.rows[column]) if column in shards.rows else []
        classes[name] = label_names(labels)
        if len(classes[name]) < 2:
            raise InputError(
                f"task {number} ({name}): column {column} of {shards.folder} has {len(classes[name])} class(es), "
                f"two are needed; see the reasons in the pseudo-label table, or leave {number} out of pretrain.tasks"
            )
        targets[name] = class_indices(labels, classes[name])
    # every row has frames to learn from; without frame targets only those with a label have
    labelled = [target != MISSING for target in targets.values()]
    every = bool(options.dense or options.reconstruct)
    usable = np.arange(len(shards.rows)) if every else np.flatnonzero(np.any(labelled, axis=0))
    train, dev, held_out, side, speakers = _split(shards, usable, params)
    frames = _frame_targets(shards, train, params, speakers)

    heads = {name: Hard(tuple(labels)) for name, labels in classes.items()}
    spec = ModelSpec(
        kind="pretrain",
        encoder=params.encoder,
        head_hidden=options.head_hidden,
        heads={**heads},
        feature_names=shards.feature_names,
        frame_period=shards.frame_period,
        chunking=chunking_for(shards, train, params.encoder),
        normalisation=Normalisation.fit(shards, train, clip=params.encoder.clip),
        frames=frames,
    )
    parts: dict[str, Loss] = {}
    weights: dict[str, float] = {}
    for number in options.tasks:
        name = TASKS[number][0]
        parts[name] = heads[name].loss(targets[name][train], label_smoothing=options.label_smoothing)
        weights[name] = options.task_weights[number - 1]

    if options.dense:
        parts[DENSE], weights[DENSE] = TrackLoss(options.dense_loss), options.dense_weight
    if options.reconstruct:
        parts[RECONSTRUCTION], weights[RECONSTRUCTION] = TrackLoss(), options.reconstruct

    make_deterministic(params.trainer, seed=options.seed)
    network = spec.build().to(params.trainer.device)
    test_data = spec.dataset(shards, held_out, _take(targets, held_out), frames=frames)
    before = run_network(network, test_data, batch_size=256, device=params.trainer.device)
    frames_before = _frame_vectors(network, test_data, params.trainer.device)
    fitted = fit(
        network,
        spec.dataset(shards, train, _take(targets, train), frames=frames),
        spec.dataset(shards, dev, _take(targets, dev), frames=frames),
        heads=heads,
        loss=GuardedLoss(SummedLoss(parts, weights), options.variance),
        schedule=options,
        seed=options.seed,
        device=params.trainer.device,
        on_epoch=on_epoch,
    )
    after = run_network(network, test_data, batch_size=256, device=params.trainer.device)
    frames_after = _frame_vectors(network, test_data, params.trainer.device)
    measures = measure(after, test_data, heads)
    metrics = {
        "tasks": {
            name: {
                **measures.get(name, {}),
                "train_labels": _counts(target[train], classes[name]),
                "held_out_labels": _counts(target[held_out], classes[name]),
            }
            for name, target in targets.items()
        },
        **_frame_metrics(spec, after, test_data),
        "held_out": {"part": side, "rows": len(held_out), "speakers": len(set(speakers[held_out]))},
        "train": {
            "rows": len(train),
            "speakers": len(set(speakers[train])),
            "hours": float(shards.lengths[train].sum()) * shards.frame_period / 3600,
        },
        "best_epoch": fitted.best_epoch,
        "encoder": {
            "effective_rank_before": effective_rank(before.vectors),
            "effective_rank": effective_rank(after.vectors),
            "dead_units": dead_units(after.vectors),
            "frame_effective_rank_before": effective_rank(frames_before),
            "frame_effective_rank": effective_rank(frames_after),
            "frame_dead_units": dead_units(frames_after),
            "units": params.encoder.hidden,
        },
    }
    provenance = {
        "tasks": list(options.tasks),
        "dense": list(options.dense),
        "corpora": sorted(set(text(shards.rows, "corpus"))),
        "speakers": sorted(set(speakers[np.concatenate([train, dev])])),
        "data": {"shards": shards.fingerprint},
        # what the pipeline says about its labels (thresholds, settings) travels with the model
        "shards_metadata": {key: value for key, value in shards.metadata.items() if key != "feature_names"},
        "params": params.model_dump(mode="json", include={"trainer", "encoder", "pretrain"}),
        "parent": None,
    }
    save_model(out, network, spec=spec, provenance=provenance, metrics=metrics, history=fitted.history)
    return metrics


def _split(shards: Shards, labelled: IntArray, params: Params) -> tuple[IntArray, IntArray, IntArray, str, np.ndarray]:
    """Training, early-stopping and measuring rows among ``labelled``; the latter's name; speaker keys of all rows.

    Given dev and test rows are used; without dev rows, whole training speakers are held out; without test rows the
    measures are taken on the dev speakers (who also chose the epoch, and the metrics say "dev").
    """
    speakers = speaker_keys(shards.rows, unknown_is_own=True)
    split = text(shards.rows, "split")[labelled]
    test = labelled[split == "test"]
    dev = labelled[split == "dev"]
    train = labelled[(split != "test") & (split != "dev")]
    if not len(train):
        raise InputError(f"{shards.folder}: no training rows with a label of tasks {list(params.pretrain.tasks)}")
    if not len(dev):
        rng = np.random.default_rng(params.pretrain.seed)
        rows = shards.rows.iloc[train]
        kept, held = hold_out_speakers(rows, speakers[train], share=params.pretrain.dev_share, rng=rng)
        train, dev = train[kept], train[held]
    if params.pretrain.unlabelled_fraction < 1:
        rng = np.random.default_rng([params.pretrain.seed, 1])  # not the draw of the dev speakers
        fraction, by = params.pretrain.unlabelled_fraction, params.pretrain.unlabelled_by
        train = train[unlabelled_subset(shards.rows.iloc[train], fraction=fraction, by=by, rng=rng)]
    assert_disjoint({"train": speakers[train], "dev": speakers[dev], "test": speakers[test]})
    held_out, side = (test, "test") if len(test) else (dev, "dev")
    return train, dev, held_out, side, speakers


def _frame_targets(
    shards: Shards, train: IntArray, params: Params, speakers: npt.NDArray[np.object_]
) -> FrameTargets | None:
    """Return what the frame heads follow, scaled by training rows; None without frame heads."""
    options = params.pretrain
    if not (options.dense or options.reconstruct):
        return None
    probe = CHUNK_ENCODERS[params.encoder.chunk_encoder](len(shards.feature_names), params.encoder)
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
        scale = TrackScale.fit(
            shards, train, names, centre=options.dense_centre, clip=params.encoder.clip, speakers=speakers
        )
    return FrameTargets(step=int(probe.step), scale=scale, reconstruct=options.reconstruct > 0)  # type: ignore[arg-type]


def _frame_vectors(network: Network, data: ChunkDataset, device: str) -> Tensor:
    """Frame vectors of up to 100 utterances, real chunks only, (frames, C): what ``transfer: conv`` hands on."""
    network.eval()
    with torch.no_grad():
        batch = data.__getitems__(list(range(min(len(data), 100)))).to(device)
        _, frames = network.encoder(batch.x, batch.frame_mask, batch.chunk_mask)
    return frames[batch.chunk_mask].flatten(0, 1).cpu()


def _frame_metrics(spec: ModelSpec, outputs: Outputs, data: ChunkDataset) -> dict[str, Any]:
    """Held-out correlation of every dense track, and of the hidden features on average."""
    truth = data.truth()
    result: dict[str, Any] = {}
    if DENSE in truth and spec.frames is not None and spec.frames.scale is not None:
        found = correlations(outputs.logits[DENSE], truth[DENSE])
        result["dense"] = dict(zip(spec.frames.scale.names, found, strict=True))
    if RECONSTRUCTION in truth:
        found = correlations(outputs.logits[RECONSTRUCTION], truth[RECONSTRUCTION])
        result["reconstruction"] = float(np.mean([value or 0.0 for value in found]))
    return result


def _take(targets: dict[str, IntArray], rows: IntArray) -> dict[str, IntArray]:
    return {name: target[rows] for name, target in targets.items()}


def _counts(indices: IntArray, classes: list[str]) -> dict[str, int]:
    counts = {name: int((indices == number).sum()) for number, name in enumerate(classes)}
    return {**counts, "none": int((indices == MISSING).sum())}
