"""What a mode of fine-tuning trains beside its target; plain training: nothing.

``trainer.finetuning.auxiliary`` and recipes fill it in. One place, so that there is one fine-tuning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from torch import nn

from trainer.data.dataset import ChunkDataset
from trainer.data.rows import Target
from trainer.data.tracks import FrameTargets
from trainer.models.checkpoint import Checkpoint, ModelSpec
from trainer.models.network import Network
from trainer.objectives import Objective
from trainer.objectives.losses import Loss, SummedLoss
from trainer.training.optimiser import EpochPlan


class SideTask:
    """Plain training of one target."""

    def identity(self) -> dict[str, Any]:
        """Return what a result depends on besides fine-tuning's own settings and the parent; part of a run's key."""
        return {}

    def start(self, parent: Checkpoint | None) -> SideTask:
        """Return the task with what it takes from the pretrained ``parent``; called once in the process that trains."""
        return self

    @property
    def heads(self) -> dict[str, Objective]:
        """Further heads of the network."""
        return {}

    @property
    def frames(self) -> FrameTargets | None:
        """Targets of further frame heads of the network."""
        return None

    def targets(self, n_rows: int) -> dict[str, Target]:
        """Further targets of ``n_rows`` labelled rows."""
        return {}

    def carry_over(self, network: Network) -> None:
        """Give the further heads weights that are there already."""

    def loss(self, target: str, loss: Loss) -> SummedLoss:
        """Loss on labelled rows; ``loss`` is the objective's own."""
        return SummedLoss({target: loss}, {target: 1.0})

    def each_epoch(
        self, train: ChunkDataset, spec: ModelSpec, loss: SummedLoss, *, seed: int, device: str
    ) -> Callable[[nn.Module], EpochPlan] | None:
        """Return what plans the epochs; None: each goes through ``train`` once."""
        return None

    @property
    def speakers(self) -> set[str]:
        """Keys of further training speakers."""
        return set()

    def about(self, history: pd.DataFrame, *, tested: set[str]) -> dict[str, Any]:
        """Return further columns of a row of results; ``tested``: keys of the test speakers."""
        return {}

    def provenance(self) -> dict[str, Any]:
        """Return further entries of ``config.json``."""
        return {}
