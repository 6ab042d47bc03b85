"""The one training loop, used by pretraining and fine-tuning alike."""

from __future__ import annotations

import copy
import itertools
import math
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

from trainer.data.arrays import IntArray
from trainer.data.dataset import Batch, ChunkDataset
from trainer.data.tracks import MATCHING, VECTORS
from trainer.errors import InputError
from trainer.objectives import Objective
from trainer.objectives.losses import TotalLoss
from trainer.params import AugmentParams, RuntimeParams, ScheduleParams
from trainer.training.augment import augment
from trainer.training.diagnostics import matched_share, mean_correlation
from trainer.training.optimiser import EpochPlan, Optimiser, Pass


def make_deterministic(runtime: RuntimeParams, *, seed: int) -> None:
    """Fix everything that can make two runs on one machine differ: seed, algorithms, number of threads.

    Raises InputError if the device of ``runtime`` is not there.
    """
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise InputError("trainer.device is cuda, but torch finds no CUDA device here: set trainer.device to cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is only reproducible with a fixed workspace
    # the same as use_deterministic_algorithms(True), which also loads the compiler: 1.4 s for nothing
    torch.set_deterministic_debug_mode("error")
    # nothing reads uninitialised memory here, and filling it costs a tenth of the time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(runtime.threads)
    torch.manual_seed(seed)


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network for a whole data set, in its row order, on the CPU."""

    logits: dict[str, Tensor]  # all that the network's forward gives, by name; of a target (N, outputs)

    @property
    def vectors(self) -> Tensor:
        """Output of the encoder, (N, H)."""
        return self.logits[VECTORS]


@dataclass(frozen=True)
class Fitted:
    """What training leaves besides the network's weights."""

    history: pd.DataFrame  # one row an epoch
    best_epoch: int
    # on held-out speakers: mean score of the targets (and correlation of tracks), or minus the loss; None without any
    best_score: float | None
    updates: int  # of the weights, in all epochs


def run_network(network: nn.Module, data: ChunkDataset, *, batch_size: int, device: str = "cpu") -> Outputs:
    """Evaluate without gradients or dropout."""
    network.eval()
    scores: dict[str, list[Tensor]] = defaultdict(list)
    with torch.no_grad():
        for batch in _batches(data, batch_size=batch_size):
            for name, values in network(batch.to(device)).items():
                scores[name].append(values.cpu())
    return Outputs({name: torch.cat(parts) for name, parts in scores.items()})


def measure(outputs: Outputs, data: ChunkDataset, heads: Mapping[str, Objective]) -> dict[str, dict[str, float]]:
    """Measures per target, over rows that have a label; targets without any are left out."""
    return {
        name: heads[name].measure(truth, heads[name].predict(outputs.logits[name]))
        for name, truth in data.targets.items()
        if name in heads and heads[name].labelled(truth).any()
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
    """Train until ``patience`` epochs bring nothing on ``dev``; leave the best epoch's weights in the network.

    With ``monitor: last`` train all epochs and leave the last one's. Same seed, same network, same data: bit for bit
    the same result.

    Args:
        network: from a batch to outputs by name, `VECTORS` among them.
        train: training rows.
        dev: rows of other speakers, or of other sentences where a task is about the speakers at hand (the callers'
            protocol checks that); None only with ``monitor: last``.
        heads: objectives whose scores on ``dev`` choose the epoch.
        loss: of an epoch, and on ``dev``.
        schedule: how long and how fast.
        seed: of shuffling and augmentation.
        device: where the network learns.
        freeze: modules that do not learn and whose batch statistics stay as they are.
        on_epoch: called with the number of every finished epoch.
        each_epoch: asked before every epoch what to train on instead of ``train`` once with ``loss``; it may look at
            the network, give rows new targets or an order of their own, and draw modules anew. ``loss`` and measures on
            ``dev`` choose the epoch all the same.
    """
    if dev is None and schedule.monitor != "last":
        raise ValueError("without held-out speakers there is only the last epoch to keep: monitor must be last")
    network.to(device)
    if device != "cpu" and each_epoch is None and not schedule.augment.on:  # which is drawn and done on the CPU
        for data in (train, dev):
            if data is not None:
                data.reside(device)
    optimiser = Optimiser(network, schedule, freeze)
    generator = torch.Generator().manual_seed(seed)
    records: list[dict[str, float]] = []
    best = _Best(network, schedule.monitor)
    for epoch in itertools.count(1):
        plan = EpochPlan([Pass(train, loss)]) if each_epoch is None else each_epoch(network)
        optimiser.begin(plan)
        train_loss = _train_epoch(network, plan, optimiser, schedule, generator, device)
        if not (math.isfinite(train_loss) and all(bool(weights.isfinite().all()) for weights in network.parameters())):
            raise InputError(f"training diverged at epoch {epoch} (loss {train_loss:g}): lower lr or gradient_clip")
        scores = {"dev_loss": math.nan, "dev_score": math.nan}
        if dev is not None:
            scores = _scores(network, dev, heads=heads, loss=loss, device=device)
        records.append({"epoch": epoch, "train_loss": train_loss, **scores, **plan.record})
        best.compare(epoch, scores["dev_loss"], scores["dev_score"])
        if on_epoch is not None:
            on_epoch(epoch)
        if epoch - best.epoch >= schedule.patience or epoch >= optimiser.epochs:
            break
    best.restore()
    return Fitted(pd.DataFrame(records), best.epoch, best.value if dev is not None else None, optimiser.updates)


class _Best:
    """The best epoch so far, with its weights."""

    def __init__(self, network: nn.Module, monitor: str) -> None:
        self.network, self.monitor = network, monitor
        self.rank = (-math.inf, -math.inf)
        self.value, self.epoch = 0.0, 0
        # where no epoch has a score that is a number, the first weights count; the last epoch needs no copy
        self.state: dict[str, Tensor] | None = None if monitor == "last" else copy.deepcopy(network.state_dict())

    def compare(self, epoch: int, dev_loss: float, dev_score: float) -> None:
        """Keep the network as it is if this epoch is better than all before."""
        rank = {"score": (dev_score, -dev_loss), "loss": (-dev_loss, dev_score), "last": (epoch, dev_score)}
        if rank[self.monitor] > self.rank:
            self.rank = rank[self.monitor]
            self.value = -dev_loss if self.monitor == "loss" else dev_score
            self.epoch = epoch
            if self.state is not None:
                self.state = copy.deepcopy(self.network.state_dict())

    def restore(self) -> None:
        """Give the network the weights of the best epoch."""
        if self.state is not None:
            self.network.load_state_dict(self.state)


def _train_epoch(
    network: nn.Module,
    plan: EpochPlan,
    optimiser: Optimiser,
    schedule: ScheduleParams,
    generator: torch.Generator,
    device: str,
) -> float:
    """Go through all passes; return the mean loss over utterances."""
    total, count = 0.0, 0
    for part in plan.passes:
        options = schedule.augment if part.augment is None else part.augment
        if part.before is not None:
            optimiser.forget(part.before())
        for batch in _batches(part.data, batch_size=schedule.batch_size, generator=generator, order=part.order):
            loss = _batch_loss(network, batch, part.loss, options, generator, device)
            optimiser.step(loss)
            total, count = total + loss.item() * len(batch.x), count + len(batch.x)
    return total / count


def _batch_loss(
    network: nn.Module, plain: Batch, loss: TotalLoss, options: AugmentParams, generator: torch.Generator, device: str
) -> Tensor:
    """Loss of the augmented batch; of a mixed one the shares of both losses."""
    batch, mix = augment(plain, options, generator) if options.on else (plain, None)
    batch = batch.to(device)
    with torch.enable_grad():  # libraries exist whose import switches gradients off for the process (py-feat's does)
        outputs = network(batch)
        value = loss(outputs, batch.targets)
        if mix is not None:
            mixed = {name: target.to(device) for name, target in mix.targets.items()}
            value = mix.share * value + (1.0 - mix.share) * loss(outputs, mixed)
    return value


def _scores(
    network: nn.Module, dev: ChunkDataset, *, heads: Mapping[str, Objective], loss: TotalLoss, device: str
) -> dict[str, float]:
    """Columns of the history: loss on held-out rows, mean score, and the scores that it is the mean of."""
    outputs, truth = run_network(network, dev, batch_size=256, device=device), dev.truth()
    each = {
        f"dev_{name}_{heads[name].score}": values.get(heads[name].score, 0.0)
        for name, values in measure(outputs, dev, heads).items()
    }
    correlation = mean_correlation(outputs.logits, truth)
    if correlation is not None:
        each["dev_dense_r"] = correlation
    matched = matched_share(outputs.logits[MATCHING], truth[MATCHING]) if MATCHING in truth else None
    if matched is not None:
        each["dev_matched"] = matched[0]
    mean = float(np.mean(list(each.values()))) if each else 0.0
    return {"dev_loss": float(loss(outputs.logits, truth)), "dev_score": mean, **each}


def _batches(
    data: ChunkDataset, *, batch_size: int, generator: torch.Generator | None = None, order: IntArray | None = None
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
