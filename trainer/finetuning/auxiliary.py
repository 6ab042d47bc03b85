"""The tasks of pretraining as side tasks of fine-tuning [ours].

Every epoch goes through a draw of the rows that the parent was pretrained on, with the parent's own targets, loss,
normalisation and chunks, and then through the labelled rows. The heads of the tasks start as the parent left them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from trainer.data.dataset import ChunkDataset
from trainer.data.shards import Shards
from trainer.data.tracks import FrameTargets
from trainer.errors import InputError
from trainer.finetuning.parents import Parents
from trainer.finetuning.side_task import SideTask
from trainer.models.checkpoint import Checkpoint, ModelSpec
from trainer.models.network import Network
from trainer.objectives import Objective
from trainer.objectives.losses import SummedLoss
from trainer.params import AuxiliaryParams, FinetuneParams, parse_params
from trainer.pretraining.draw import draw
from trainer.pretraining.pretext import Pretext
from trainer.training.optimiser import EpochPlan, Pass


def side_tasks(options: FinetuneParams, unlabelled: Shards | None) -> dict[str, SideTask]:
    """Return what each of ``finetune.modes`` trains beside the target.

    Raises InputError if a mode goes on with the tasks of pretraining and ``unlabelled`` shards are not given.
    """
    if any(map(options.goes_on, options.chosen)) and unlabelled is None:
        raise InputError("finetune.auxiliary needs the unlabelled shards that the parent was pretrained on")
    return {
        mode: Auxiliary(options.auxiliary, unlabelled)
        for mode in options.chosen
        if unlabelled is not None and options.goes_on(mode)
    }


def check_auxiliary(parents: Parents, unlabelled: Shards, target: str) -> None:
    """Raise InputError unless ``unlabelled`` is what the parents were pretrained on, with tasks that can go on."""
    for parent in (parents.everyone, *parents.folds.values()):
        if parent.checkpoint is not None:
            _check_one(parent.checkpoint, unlabelled, target)


def _check_one(parent: Checkpoint, unlabelled: Shards, target: str) -> None:
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
    if parent.spec.face_size:
        raise InputError(
            "finetune.auxiliary goes with pretrain.tasks and pretrain.dense, not with pretrain.matching, which needs "
            "several segments of a speaker side by side"
        )
    if target in parent.spec.heads:
        raise InputError(f"finetune.target {target!r} is the name of a pretext task: name the column otherwise")


@dataclass(frozen=True)
class Auxiliary(SideTask):
    """The parent's tasks on the shards it was pretrained on; every run starts it with its parent."""

    params: AuxiliaryParams
    unlabelled: Shards
    started: Checkpoint | None = None

    def identity(self) -> dict[str, Any]:
        """Name the setting; the parent, whose fingerprint is in every key, says on which shards."""
        return {"auxiliary": self.params.model_dump(mode="json")}

    def start(self, parent: Checkpoint | None) -> Auxiliary:
        """Go on from ``parent``."""
        return replace(self, started=parent)

    @property
    def parent(self) -> Checkpoint:
        """The pretrained model; raises ValueError before the start."""
        if self.started is None:
            raise ValueError("the tasks of pretraining go on from a pretrained parent")
        return self.started

    @cached_property
    def pretext(self) -> Pretext:
        """Targets and rows as the parent had them."""
        pretrained = parse_params(self.parent.config["params"], source="config.json of the pretrained model")
        without = self.parent.config.get("without", ())
        return Pretext.of(self.unlabelled, pretrained.pretrain, pretrained.encoder, without=without)

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
        parent = self.parent.network
        for heads, trained in ((network.heads, parent.heads), (network.frame_heads, parent.frame_heads)):
            for name, head in trained.items():
                heads[name].load_state_dict(head.state_dict())

    def each_epoch(
        self, train: ChunkDataset, spec: ModelSpec, loss: SummedLoss, *, seed: int, device: str
    ) -> Callable[[nn.Module], EpochPlan]:
        """Plan a draw of the unlabelled rows, then the labelled ones."""
        rng = np.random.default_rng([seed, 2])
        unlabelled = self.pretext.dataset(self.parent.spec, self.pretext.train)
        size = max(1, round(self.params.share * len(train)))
        pretext_loss, weight = self.pretext.loss(), self.params.weight
        augment = self.pretext.options.augment

        def plan(network: nn.Module) -> EpochPlan:
            order = draw(len(unlabelled), size=size, rng=rng)
            first = Pass(unlabelled, lambda scores, truth: weight * pretext_loss(scores, truth), order, augment)
            return EpochPlan([first, Pass(train, loss)])

        return plan

    @property
    def speakers(self) -> set[str]:
        """Keys of the unlabelled speakers."""
        return set(self.unlabelled.speakers[self.pretext.train])

    def about(self, history: pd.DataFrame, *, tested: set[str]) -> dict[str, Any]:
        """Name the setting and the number of unlabelled rows."""
        return {"auxiliary": str(self.params), "n_unlabelled": len(self.pretext.train)}

    def provenance(self) -> dict[str, Any]:
        """Name the setting and the unlabelled shards."""
        return {"auxiliary": {**self.params.model_dump(mode="json"), "unlabelled_shards": self.unlabelled.fingerprint}}
