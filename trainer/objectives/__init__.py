"""Objectives: targets, losses and measures of what a network predicts."""

from __future__ import annotations

from typing import Any

from trainer.objectives.attributes import Attribute
from trainer.objectives.base import Objective
from trainer.objectives.classes import Hard
from trainer.objectives.votes import MultiLabel, Soft

__all__ = ["OBJECTIVES", "Attribute", "Hard", "MultiLabel", "Objective", "Soft", "restore_objective"]

# name in ``finetune.objective`` -> class
OBJECTIVES: dict[str, type[Objective]] = {"hard": Hard, "soft": Soft, "multilabel": MultiLabel, "attribute": Attribute}


def restore_objective(names: list[str], raw: dict[str, Any]) -> Objective:
    """Return the objective that wrote ``raw`` (`Objective.to_json`) and whose outputs have these names."""
    return OBJECTIVES[raw["kind"]].from_json(names, raw)
