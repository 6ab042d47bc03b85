"""What an epoch trains on, and the steps of the optimiser in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from trainer.data.arrays import IntArray
from trainer.data.dataset import ChunkDataset
from trainer.objectives.losses import TotalLoss
from trainer.params import AugmentParams, ScheduleParams


@dataclass(frozen=True)
class Pass:
    """Rows that an epoch goes through, and the loss on them."""

    data: ChunkDataset
    loss: TotalLoss
    order: IntArray | None = None  # positions in ``data``, some perhaps repeated or left out; None: all, shuffled
    augment: AugmentParams | None = None  # None: the schedule's
    # called before the pass; returns modules whose weights it has drawn anew, which the optimiser then forgets
    before: Callable[[], Sequence[nn.Module]] | None = None


@dataclass(frozen=True)
class EpochPlan:
    """What one epoch trains on: passes in order."""

    passes: Sequence[Pass]
    renewed: Sequence[nn.Module] = ()  # modules whose weights were just drawn anew: the optimiser forgets them
    record: Mapping[str, float] = field(default_factory=dict)  # further columns of this epoch in the history

    def updates(self, batch_size: int) -> int:
        """How many batches the epoch has, each of which updates the weights once."""
        rows = [len(part.data if part.order is None else part.order) for part in self.passes]
        return sum(math.ceil(count / batch_size) for count in rows)


class Optimiser:
    """AdamW on all that is not frozen, with clipped gradients and the schedule's learning rate."""

    def __init__(self, network: nn.Module, schedule: ScheduleParams, freeze: Sequence[nn.Module]) -> None:
        self.network, self.schedule, self.freeze = network, schedule, freeze
        network.requires_grad_(True)
        for module in freeze:
            module.requires_grad_(False)
        self.learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.adamw = torch.optim.AdamW(self.learning, lr=schedule.lr, weight_decay=schedule.weight_decay, fused=True)
        self.rate: OneCycleLR | None = None
        self.epochs = schedule.epochs
        self.updates = 0  # so far

    def begin(self, plan: EpochPlan) -> None:
        """Prepare an epoch; the first one decides how many epochs ``schedule.steps`` takes, and how long a cycle is."""
        if not self.updates and self.schedule.steps is not None:
            self.epochs = math.ceil(self.schedule.steps / plan.updates(self.schedule.batch_size))
        self.forget(plan.renewed)
        if self.schedule.lr_schedule == "one_cycle" and self.rate is None:
            # change the learning rate after each step, for epochs as long as the first one is planned
            steps = plan.updates(self.schedule.batch_size) * self.epochs
            self.rate = OneCycleLR(self.adamw, max_lr=self.schedule.lr, total_steps=steps)
        self.network.train()
        for module in self.freeze:
            module.eval()

    def forget(self, modules: Sequence[nn.Module]) -> None:
        """Forget what was remembered of the weights of ``modules``, which are new ones."""
        for module in modules:
            for parameter in module.parameters():
                self.adamw.state.pop(parameter, None)

    def step(self, loss: Tensor) -> None:
        """Follow the gradient of one batch."""
        self.adamw.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, self.schedule.gradient_clip)
        self.adamw.step()
        self.updates += 1
        if self.rate is not None and self.rate.last_epoch + 1 < self.rate.total_steps:
            self.rate.step()
