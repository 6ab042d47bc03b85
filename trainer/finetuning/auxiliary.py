"""The face goes on teaching: the tasks of pretraining beside the target, in fine-tuning too [ours].

Every epoch goes through a draw of the rows that the parent was pretrained on, with the parent's own targets, loss,
normalisation and chunks, and then through the labelled rows. The heads of the tasks start as the parent left them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from trainer.data.arrays import IntArray
from trainer.data.dataset import ChunkDataset
from trainer.data.shards import Shards
from trainer.data.tracks import FrameTargets
from trainer.errors import InputError
from trainer.finetuning.side_task import SideTask
from trainer.models.checkpoint import Checkpoint, ModelSpec
from trainer.models.network import Network
from trainer.objectives import Objective
from trainer.objectives.losses import SummedLoss
from trainer.params import AuxiliaryParams, Params
from trainer.pretraining.pretext import Pretext
from trainer.training.loop import EpochPlan, Pass


def check_auxiliary(parent: Checkpoint, unlabelled: Shards, target: str) -> None:
    """Raise InputError unless ``unlabelled`` is what ``parent`` was pretrained on, with tasks that can go on."""
    if parent.config["data"]["shards"] != unlabelled.fingerprint:
        raise InputError(
            f"finetune.auxiliary: the parent was not pretrained on {unlabelled.folder}: name the shards it was, or run "
            "pretrain again"
        )
    if parent.spec.frames is not None and parent.spec.frames.reconstruct:
        raise InputError(
            "finetune.auxiliary goes with pretrain.tasks and pretrain.dense, not with pretrain.reconstruct: it would "
            "hide spans of the labelled speech too"
        )
    if target in parent.spec.heads:
        raise InputError(f"finetune.target {target!r} is the name of a pretext task: name the column otherwise")


def draw(count: int, *, size: int, rng: np.random.Generator) -> IntArray:
    """Draw ``size`` of ``count`` positions, all equally often up to one, in random order.

    >>> sorted(draw(3, size=6, rng=np.random.default_rng(0)).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    return np.concatenate([rng.permutation(count) for _ in range(-(-size // count))])[:size]


@dataclass(frozen=True)
class Auxiliary(SideTask):
    """The parent's tasks on the parent's films."""

    params: AuxiliaryParams
    parent: Checkpoint
    unlabelled: Shards

    @cached_property
    def pretext(self) -> Pretext:
        """Targets and rows as the parent had them."""
        pretrained = Params.model_validate(self.parent.config["params"])
        return Pretext.of(self.unlabelled, pretrained.pretrain, pretrained.encoder)

    @property
    def heads(self) -> dict[str, Objective]:
        """Those of the parent's tasks."""
        return self.parent.spec.heads

    @property
    def frames(self) -> FrameTargets | None:
        """The parent's tracks."""
        return self.parent.spec.frames

    def carry_over(self, network: Network) -> None:
        """Start from the parent's heads."""
        for own, theirs in (
            (network.heads, self.parent.network.heads),
            (network.frame_heads, self.parent.network.frame_heads),
        ):
            for name, head in theirs.items():
                own[name].load_state_dict(head.state_dict())

    def each_epoch(
        self, train: ChunkDataset, spec: ModelSpec, loss: SummedLoss, *, seed: int, device: str
    ) -> Callable[[nn.Module], EpochPlan]:
        """Plan a draw of the films, then the labelled rows."""
        rng = np.random.default_rng([seed, 2])
        films = self.pretext.dataset(self.parent.spec, self.pretext.train)
        size = max(1, round(self.params.share * len(train)))
        pretext_loss, weight = self.pretext.loss(), self.params.weight
        augment = self.pretext.options.augment

        def plan(network: nn.Module) -> EpochPlan:
            order = draw(len(films), size=size, rng=rng)
            side = Pass(films, lambda scores, truth: weight * pretext_loss(scores, truth), order, augment)
            return EpochPlan([side, Pass(train, loss)])

        return plan

    @property
    def speakers(self) -> set[str]:
        """Keys of the speakers of the films."""
        return set(self.pretext.speakers[self.pretext.train])

    def about(self, history: pd.DataFrame, *, tested: set[str]) -> dict[str, Any]:
        """Name the setting and the number of films' rows."""
        return {"auxiliary": str(self.params), "n_unlabelled": len(self.pretext.train)}

    def provenance(self) -> dict[str, Any]:
        """Name the setting and the films."""
        return {"auxiliary": {**self.params.model_dump(mode="json"), "unlabelled_shards": self.unlabelled.fingerprint}}
