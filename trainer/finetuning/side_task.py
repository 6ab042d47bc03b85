"""What a mode of fine-tuning trains beside its target; plain training: nothing.

``trainer.recipes.cluster.clustering`` and ``trainer.finetuning.auxiliary`` fill it in. One place, so that there is one fine-tuning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from torch import nn

from trainer.data.dataset import ChunkDataset
from trainer.data.rows import Target
from trainer.data.tracks import FrameTargets
from trainer.models.checkpoint import ModelSpec
from trainer.models.network import Network
from trainer.objectives import Objective
from trainer.objectives.losses import Loss, SummedLoss
from trainer.training.loop import EpochPlan


class SideTask:
    """Plain training of one target."""

    @property
    def heads(self) -> dict[str, Objective]:
        """Further heads of the network."""
        return {}

    @property
    def frames(self) -> FrameTargets | None:
        """What further frame heads of the network follow."""
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
        """Keys of further speakers who are heard."""
        return set()

    def about(self, history: pd.DataFrame, *, tested: set[str]) -> dict[str, Any]:
        """Return what a row of results says of it; ``tested``: keys of the test speakers."""
        return {}

    def provenance(self) -> dict[str, Any]:
        """Return what ``config.json`` says of it."""
        return {}
