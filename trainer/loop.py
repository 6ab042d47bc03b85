"""The one training loop, used by pretraining and fine-tuning alike."""

from __future__ import annotations

import copy
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.utils.deterministic
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trainer.data import Batch, ChunkDataset
from trainer.dense import VECTORS, mean_correlation
from trainer.losses import TotalLoss
from trainer.objectives import Objective
from trainer.params import RuntimeParams, ScheduleParams


def make_deterministic(runtime: RuntimeParams, *, seed: int) -> None:
    """Fix everything that can make two runs on one machine differ: seeds, algorithms, number of threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is only reproducible with a fixed workspace
    torch.use_deterministic_algorithms(True)
    # nothing reads uninitialised memory here, and filling it costs a tenth of the time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(runtime.threads)
    torch.manual_seed(seed)


@dataclass(frozen=True)
class Outputs:
    """What a network says of a whole data set, in its row order, on the CPU."""

    logits: dict[str, Tensor]  # all that the network's forward gives: (N, outputs) per target, and what frame heads say
    vectors: Tensor  # (N, H), the encoder's output


@dataclass(frozen=True)
class Fitted:
    """What training leaves beside the network's weights."""

    history: pd.DataFrame  # one row an epoch
    best_epoch: int
    best_score: float  # on held-out speakers: mean score of the targets (and correlation of tracks), or minus the loss


def run_network(network: nn.Module, data: ChunkDataset, *, batch_size: int, device: str = "cpu") -> Outputs:
    """Evaluate without gradients or dropout."""
    network.eval()
    scores: dict[str, list[Tensor]] = defaultdict(list)
    with torch.no_grad():
        for batch in _batches(data, batch_size=batch_size):
            for name, values in network(batch.to(device)).items():
                scores[name].append(values.cpu())
    logits = {name: torch.cat(parts) for name, parts in scores.items()}
    return Outputs(logits, logits[VECTORS])


def measure(outputs: Outputs, data: ChunkDataset, heads: Mapping[str, Objective]) -> dict[str, dict[str, float]]:
    """Measures per target, over rows that have a label; targets without any are left out."""
    return {
        name: heads[name].measure(truth, heads[name].predict(outputs.logits[name]))
        for name, truth in data.targets.items()
        if heads[name].labelled(truth).any()
    }


def fit(
    network: nn.Module,
    train: ChunkDataset,
    dev: ChunkDataset,
    *,
    heads: Mapping[str, Objective],
    loss: TotalLoss,
    schedule: ScheduleParams,
    seed: int,
    device: str = "cpu",
    freeze: Sequence[nn.Module] = (),
    on_epoch: Callable[[int], None] | None = None,
) -> Fitted:
    """Train with AdamW until ``patience`` epochs bring nothing on ``dev``; leave the best epoch's weights behind.

    With ``monitor: last`` train all epochs and leave the last one's. ``network``: from a batch to scores by name,
    `VECTORS` among them.

    ``train`` and ``dev`` must not share speakers, or not sentences where a task is about the speakers at hand (the
    callers' protocol checks that). ``freeze``: modules that do
    not learn and whose batch statistics stay as they were. Same seed, same network, same data: bit for bit
    the same result.
    """
    network.to(device)
    network.requires_grad_(True)
    for module in freeze:
        module.requires_grad_(False)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=schedule.lr, weight_decay=schedule.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    records: list[dict[str, float]] = []
    best: tuple[float, float] = (-np.inf, -np.inf)
    dev_targets = dev.truth()
    best_value, best_epoch, best_state = 0.0, 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, schedule.epochs + 1):
        network.train()
        for module in freeze:
            module.eval()
        total = 0.0
        for batch in _batches(train, batch_size=schedule.batch_size, generator=generator):
            moved = batch.to(device)
            optimizer.zero_grad(set_to_none=True)
            # Libraries exist whose import switches gradients off for the whole process (py-feat's does).
            with torch.enable_grad():
                value = loss(network(moved), moved.targets)
            value.backward()
            torch.nn.utils.clip_grad_norm_(learning, schedule.gradient_clip)
            optimizer.step()
            total += value.item() * len(batch.x)
        outputs = run_network(network, dev, batch_size=256, device=device)
        dev_loss = float(loss(outputs.logits, dev_targets))
        measures = measure(outputs, dev, heads)
        scores = {name: values.get(heads[name].score, 0.0) for name, values in measures.items()}
        per_target = {f"dev_{name}_{heads[name].score}": value for name, value in scores.items()}
        correlation = mean_correlation(outputs.logits, dev_targets)
        if correlation is not None:
            per_target["dev_dense_r"] = correlation
        told = [*scores.values(), *([] if correlation is None else [correlation])]
        mean = float(np.mean(told)) if told else 0.0
        records.append(
            {"epoch": epoch, "train_loss": total / len(train), "dev_loss": dev_loss, "dev_score": mean, **per_target}
        )
        score = {"score": (mean, -dev_loss), "loss": (-dev_loss, mean), "last": (float(epoch), mean)}[schedule.monitor]
        if score > best:
            best_value = -dev_loss if schedule.monitor == "loss" else mean
            best, best_epoch, best_state = score, epoch, copy.deepcopy(network.state_dict())
        if on_epoch is not None:
            on_epoch(epoch)
        if epoch - best_epoch >= schedule.patience:
            break
    network.load_state_dict(best_state)
    return Fitted(pd.DataFrame(records), best_epoch, best_value)


def _batches(data: ChunkDataset, *, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
    """Batches in row order, or shuffled by ``generator``; the data set collates, hence the identity."""
    return iter(
        DataLoader(
            data,
            batch_size=batch_size,
            shuffle=generator is not None,
            generator=generator,
            collate_fn=lambda batch: batch,
        )
    )
