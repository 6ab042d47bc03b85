"""Pretraining: an encoder learns from unlabelled talking-face video (Goncalves & Busso, Interspeech 2022).

Speech in, pseudo-labels of face and voice out (``trainer.pretraining.pretext``). The head of a task is a small
projection that fine-tuning throws away [ours].
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.data.chunking import chunking_for, note_long_clips
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE, MATCHING, RECONSTRUCTION
from trainer.models.checkpoint import ModelSpec, save_model
from trainer.models.network import Network
from trainer.params import Params
from trainer.params.training import SIDE_BY_SIDE
from trainer.pretraining.draw import epoch_order
from trainer.pretraining.pretext import Pretext
from trainer.training.diagnostics import correlations, dead_units, effective_rank, matched_share
from trainer.training.loop import Outputs, fit, make_deterministic, measure, run_network
from trainer.training.optimiser import EpochPlan, Pass


def pretrain(
    shards_folder: str | Path,
    out: str | Path,
    params: Params,
    *,
    without: Collection[str] = (),
    cache: str | Path = ".cache/trainer",
    on_epoch: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Pretrain on a shard folder and write a checkpoint.

    Args:
        shards_folder: unlabelled shards.
        out: model folder.
        params: sections trainer, encoder and pretrain count.
        without: keys of speakers who are neither heard nor seen: those whom a fold tests.
        cache: folder of memory maps.
        on_epoch: called with the number of finished epochs.

    Returns:
        The metrics: per task measures on held-out speakers, with chance and label counts; and the encoder's effective
        rank and share of dead units, before and after.

    Raises:
        InputError: a task has less than two classes, or speakers are on two sides of a given split.
    """
    options, device = params.pretrain, params.trainer.device
    shards = open_shards(shards_folder, cache=cache)
    pretext = Pretext.of(shards, options, params.encoder, without=without)
    note_long_clips(shards, pretext.train, params.encoder)
    spec = ModelSpec(
        kind="pretrain",
        encoder=params.encoder,
        head_hidden=options.head_hidden,
        heads={**pretext.heads},
        feature_names=shards.feature_names,
        frame_period=shards.frame_period,
        chunking=chunking_for(shards, pretext.train, params.encoder),
        normalisation=Normalisation.fit(shards, pretext.train, clip=params.encoder.clip, scope=options.normalisation),
        frames=pretext.frames,
        face_size=pretext.faces.size if pretext.faces is not None else 0,
    )
    make_deterministic(params.trainer, seed=options.seed)
    network = spec.build().to(device)
    held_out = pretext.dataset(spec, pretext.held_out)
    before = _evaluate(network, held_out, device)
    train = pretext.dataset(spec, pretext.train)
    fitted = fit(
        network,
        train,
        pretext.dataset(spec, pretext.dev),
        heads=spec.heads,
        loss=pretext.loss(),
        schedule=options,
        seed=options.seed,
        device=device,
        on_epoch=on_epoch,
        each_epoch=_ordered(pretext, train),
    )
    after = _evaluate(network, held_out, device)
    metrics = {
        **_metrics(pretext, spec, after[0], held_out),
        "best_epoch": fitted.best_epoch,
        "encoder": {**_encoder_metrics(before, after), "units": params.encoder.hidden},
    }
    provenance = {
        "tasks": list(options.tasks),
        "dense": list(options.dense),
        "corpora": sorted(set(shards.corpora[np.concatenate([pretext.train, pretext.dev])])),
        "speakers": sorted(set(shards.speakers[np.concatenate([pretext.train, pretext.dev])])),
        "without": sorted(without),
        "data": {"shards": shards.fingerprint},
        # what the pipeline states about its labels (thresholds, settings) travels with the model
        "shards_metadata": {
            key: value for key, value in shards.metadata.items() if key not in ("feature_names", "front_end")
        },
        "front_end": shards.front_end,
        "params": params.model_dump(mode="json", include={"trainer", "encoder", "pretrain"}),
        "parent": None,
    }
    save_model(out, network, spec=spec, provenance=provenance, metrics=metrics, history=fitted.history)
    return metrics


def _ordered(pretext: Pretext, train: ChunkDataset) -> Callable[[nn.Module], EpochPlan] | None:
    """Plan epochs in an order of their own; None: the loop shuffles."""
    options = pretext.options
    even, group = options.draw == "speakers", SIDE_BY_SIDE if options.matching else 1
    if not even and group == 1:
        return None
    rng = np.random.default_rng([options.seed, 5])
    speakers, loss = pretext.shards.speakers[pretext.train], pretext.loss()

    def plan(network: nn.Module) -> EpochPlan:
        return EpochPlan([Pass(train, loss, epoch_order(speakers, rng, even=even, group=group))])

    return plan


def _evaluate(network: Network, data: ChunkDataset, device: str) -> tuple[Outputs, Tensor]:
    """All outputs, and frame vectors of up to 100 utterances, real chunks only, (frames, C)."""
    outputs = run_network(network, data, batch_size=256, device=device)
    with torch.no_grad():
        batch = data.__getitems__(range(min(len(data), 100))).to(device)
        _, frames = network.encoder(batch.x, batch.frame_mask, batch.chunk_mask)
    return outputs, frames[batch.chunk_mask].flatten(0, 1).cpu()


def _encoder_metrics(before: tuple[Outputs, Tensor], after: tuple[Outputs, Tensor]) -> dict[str, float]:
    """Rank and dead units of utterance vectors and of frame vectors (which ``transfer: conv`` hands on)."""
    found: dict[str, float] = {}
    pairs = {"": (before[0].vectors, after[0].vectors), "frame_": (before[1], after[1])}
    for prefix, (untrained, trained) in pairs.items():
        found[f"{prefix}effective_rank_before"] = effective_rank(untrained)
        found[f"{prefix}effective_rank"] = effective_rank(trained)
        found[f"{prefix}dead_units"] = dead_units(trained)
    return found


def _metrics(pretext: Pretext, spec: ModelSpec, outputs: Outputs, held_out: ChunkDataset) -> dict[str, Any]:
    """Measures on held-out rows, and how many rows there are."""
    measures = measure(outputs, held_out, spec.heads)
    speakers, lengths = pretext.shards.speakers, pretext.shards.lengths
    return {
        "tasks": {
            name: {
                **measures.get(name, {}),
                "train_labels": pretext.counts(name, pretext.train),
                "held_out_labels": pretext.counts(name, pretext.held_out),
            }
            for name in pretext.targets
        },
        **_frame_metrics(spec, outputs, held_out.truth()),
        "held_out": {
            "part": pretext.side,
            "rows": len(pretext.held_out),
            "speakers": len(set(speakers[pretext.held_out])),
            **({} if pretext.unit == "speakers" else {"unit": pretext.unit}),
        },
        "train": {
            "rows": len(pretext.train),
            "speakers": len(set(speakers[pretext.train])),
            "hours": float(lengths[pretext.train].sum()) * spec.frame_period / 3600,
        },
    }


def _frame_metrics(spec: ModelSpec, outputs: Outputs, truth: dict[str, Tensor]) -> dict[str, Any]:
    """Held-out correlation of every dense track, and of the hidden features on average."""
    result: dict[str, Any] = {}
    if DENSE in truth and spec.frames is not None and spec.frames.scale is not None:
        found = correlations(outputs.logits[DENSE], truth[DENSE])
        result["dense"] = dict(zip(spec.frames.scale.names, found, strict=True))
    if MATCHING in truth:
        shares = matched_share(outputs.logits[MATCHING], truth[MATCHING])
        result["matching"] = None if shares is None else dict(zip(("found", "chance"), shares, strict=True))
    if RECONSTRUCTION in truth:
        found = correlations(outputs.logits[RECONSTRUCTION], truth[RECONSTRUCTION])
        result["reconstruction"] = float(np.mean([value or 0.0 for value in found]))
    return result
