"""The one training loop, used by pretraining and fine-tuning alike."""

from __future__ import annotations

import copy
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
import torch.utils.deterministic
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from trainer.data.arrays import IntArray
from trainer.data.dataset import Batch, ChunkDataset
from trainer.data.tracks import VECTORS
from trainer.objectives import Objective
from trainer.objectives.losses import TotalLoss
from trainer.params import AugmentParams, RuntimeParams, ScheduleParams
from trainer.training.augment import augment
from trainer.training.diagnostics import mean_correlation


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
    # on held-out speakers: mean score of the targets (and correlation of tracks), or minus the loss; None without any
    best_score: float | None


@dataclass(frozen=True)
class Pass:
    """Rows that an epoch goes through, and the loss on them."""

    data: ChunkDataset
    loss: TotalLoss
    order: IntArray | None = None  # positions in ``data``, some perhaps repeated or left out; None: all, shuffled
    augment: AugmentParams | None = None  # None: the schedule's


@dataclass(frozen=True)
class EpochPlan:
    """What one epoch trains on: passes in order."""

    passes: Sequence[Pass]
    renewed: Sequence[nn.Module] = ()  # modules whose weights were just drawn anew: the optimiser forgets them
    record: Mapping[str, float] = field(default_factory=dict)  # further columns of this epoch in the history


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
    dev: ChunkDataset | None,
    *,
    heads: Mapping[str, Objective],
    loss: TotalLoss,
    schedule: ScheduleParams,
    seed: int,
    device: str = "cpu",
    freeze: Sequence[nn.Module] = (),
    on_epoch: Callable[[int], None] | None = None,
    each_epoch: Callable[[nn.Module], EpochPlan] | None = None,
) -> Fitted:
    """Train with AdamW until ``patience`` epochs bring nothing on ``dev``; leave the best epoch's weights behind.

    With ``monitor: last`` train all epochs and leave the last one's; only then may ``dev`` be None. ``network``: from a
    batch to scores by name, `VECTORS` among them.

    ``train`` and ``dev`` must not share speakers, or not sentences where a task is about the speakers at hand (the
    callers' protocol checks that). ``freeze``: modules that do not learn and whose batch statistics stay as they were.
    ``each_epoch``: asked before every epoch what to train on instead of ``train`` once with ``loss``; it may look at
    the network, give rows new targets or an order of their own, and draw modules anew (``trainer.recipes.cluster.clustering``). The
    best epoch is chosen by ``loss`` and measures on ``dev`` all the same.

    Same seed, same network, same data: bit for bit the same result.
    """
    if dev is None and schedule.monitor != "last":
        raise ValueError("without held-out speakers there is only the last epoch to keep: monitor must be last")
    network.to(device)
    network.requires_grad_(True)
    for module in freeze:
        module.requires_grad_(False)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=schedule.lr, weight_decay=schedule.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    pace: OneCycleLR | None = None
    records: list[dict[str, float]] = []
    best: tuple[float, float] = (-np.inf, -np.inf)
    best_value, best_epoch, best_state = 0.0, 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, schedule.epochs + 1):
        plan = EpochPlan([Pass(train, loss)]) if each_epoch is None else each_epoch(network)
        for parameter in (parameter for module in plan.renewed for parameter in module.parameters()):
            optimizer.state.pop(parameter, None)
        if schedule.lr_schedule == "one_cycle" and pace is None:
            pace = _one_cycle(optimizer, schedule, plan)
        network.train()
        for module in freeze:
            module.eval()
        total, seen = 0.0, 0
        for part in plan.passes:
            changes = schedule.augment if part.augment is None else part.augment
            for plain in _batches(part.data, batch_size=schedule.batch_size, generator=generator, order=part.order):
                batch, mix = augment(plain, changes, generator) if changes.on else (plain, None)
                moved = batch.to(device)
                optimizer.zero_grad(set_to_none=True)
                # Libraries exist whose import switches gradients off for the whole process (py-feat's does).
                with torch.enable_grad():
                    outputs = network(moved)
                    value = part.loss(outputs, moved.targets)
                    if mix is not None:
                        other = {name: target.to(device) for name, target in mix.targets.items()}
                        value = mix.share * value + (1.0 - mix.share) * part.loss(outputs, other)
                value.backward()
                torch.nn.utils.clip_grad_norm_(learning, schedule.gradient_clip)
                optimizer.step()
                if pace is not None and pace.last_epoch + 1 < pace.total_steps:
                    pace.step()
                total, seen = total + value.item() * len(batch.x), seen + len(batch.x)
        dev_loss, mean = math.nan, math.nan
        record = {"epoch": float(epoch), "train_loss": total / seen, "dev_loss": dev_loss, "dev_score": mean}
        if dev is not None:
            dev_loss, mean, told = _look(network, dev, heads=heads, loss=loss, device=device)
            record |= told
        records.append(record | dict(plan.record))
        score = {"score": (mean, -dev_loss), "loss": (-dev_loss, mean), "last": (float(epoch), mean)}[schedule.monitor]
        if score > best:
            best_value = -dev_loss if schedule.monitor == "loss" else mean
            best, best_epoch, best_state = score, epoch, copy.deepcopy(network.state_dict())
        if on_epoch is not None:
            on_epoch(epoch)
        if epoch - best_epoch >= schedule.patience:
            break
    network.load_state_dict(best_state)
    history = pd.DataFrame(records).astype({"epoch": int})
    return Fitted(history, best_epoch, best_value if dev is not None else None)


def _look(
    network: nn.Module, dev: ChunkDataset, *, heads: Mapping[str, Objective], loss: TotalLoss, device: str
) -> tuple[float, float, dict[str, float]]:
    """Return loss and mean score on held-out speakers, and the epoch's columns of the history."""
    outputs, truth = run_network(network, dev, batch_size=256, device=device), dev.truth()
    dev_loss = float(loss(outputs.logits, truth))
    scores = {name: values.get(heads[name].score, 0.0) for name, values in measure(outputs, dev, heads).items()}
    per_target = {f"dev_{name}_{heads[name].score}": value for name, value in scores.items()}
    told = list(scores.values())
    correlation = mean_correlation(outputs.logits, truth)
    if correlation is not None:
        per_target["dev_dense_r"] = correlation
        told.append(correlation)
    mean = float(np.mean(told)) if told else 0.0
    return dev_loss, mean, {"dev_loss": dev_loss, "dev_score": mean, **per_target}


def _one_cycle(optimizer: torch.optim.Optimizer, schedule: ScheduleParams, plan: EpochPlan) -> OneCycleLR:
    """Return what changes the learning rate after each step, for epochs as long as the first one is planned."""
    rows = [len(part.data if part.order is None else part.order) for part in plan.passes]
    steps = sum(math.ceil(count / schedule.batch_size) for count in rows)
    return OneCycleLR(optimizer, max_lr=schedule.lr, total_steps=steps * schedule.epochs)


def _batches(
    data: ChunkDataset,
    *,
    batch_size: int,
    generator: torch.Generator | None = None,
    order: IntArray | None = None,
) -> Iterator[Batch]:
    """Batches in the given ``order``, shuffled by ``generator``, or in row order; the data set collates, not torch."""
    return iter(
        DataLoader(
            data,
            batch_size=batch_size,
            shuffle=generator is not None and order is None,
            sampler=None if order is None else order.tolist(),
            generator=generator,
            collate_fn=lambda batch: batch,
        )
    )
