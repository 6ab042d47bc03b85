"""Pretraining: an encoder learns from unlabelled talking-face video what the face says about the voice.

Goncalves & Busso, Interspeech 2022: speech in, what the face says out (``trainer.pretraining.pretext``). The head of a task is a
small projection that fine-tuning throws away [ours].
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.data.chunking import chunking_for
from trainer.data.dataset import ChunkDataset
from trainer.data.normalisation import Normalisation
from trainer.data.rows import text
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE, RECONSTRUCTION
from trainer.models.checkpoint import ModelSpec, save_model
from trainer.models.network import Network
from trainer.params import Params
from trainer.pretraining.pretext import Pretext
from trainer.training.diagnostics import correlations, dead_units, effective_rank
from trainer.training.loop import Outputs, fit, make_deterministic, measure, run_network


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
    pretext = Pretext.of(shards, options, params.encoder)
    train, dev, held_out, speakers = pretext.train, pretext.dev, pretext.held_out, pretext.speakers
    spec = ModelSpec(
        kind="pretrain",
        encoder=params.encoder,
        head_hidden=options.head_hidden,
        heads={**pretext.heads},
        feature_names=shards.feature_names,
        frame_period=shards.frame_period,
        chunking=chunking_for(shards, train, params.encoder),
        normalisation=Normalisation.fit(shards, train, clip=params.encoder.clip),
        frames=pretext.frames,
    )
    make_deterministic(params.trainer, seed=options.seed)
    network = spec.build().to(params.trainer.device)
    test_data = pretext.dataset(spec, held_out)
    before = run_network(network, test_data, batch_size=256, device=params.trainer.device)
    frames_before = _frame_vectors(network, test_data, params.trainer.device)
    fitted = fit(
        network,
        pretext.dataset(spec, train),
        pretext.dataset(spec, dev),
        heads=spec.heads,
        loss=pretext.loss(),
        schedule=options,
        seed=options.seed,
        device=params.trainer.device,
        on_epoch=on_epoch,
    )
    after = run_network(network, test_data, batch_size=256, device=params.trainer.device)
    frames_after = _frame_vectors(network, test_data, params.trainer.device)
    measures = measure(after, test_data, spec.heads)
    metrics = {
        "tasks": {
            name: {
                **measures.get(name, {}),
                "train_labels": pretext.counts(name, train),
                "held_out_labels": pretext.counts(name, held_out),
            }
            for name in pretext.targets
        },
        **_frame_metrics(spec, after, test_data),
        "held_out": {"part": pretext.side, "rows": len(held_out), "speakers": len(set(speakers[held_out]))},
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
