"""Small comparisons: systems, parameters, and labelled rows with votes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.params import ComparisonParams, Params, PenalisationParams, SequenceParams

SYSTEMS: dict[str, dict[str, Any]] = {
    "gated": {},
    "attention": {"aggregator": "rnn_attention"},
    "pad": {"length": "pad"},
    "crop": {"length": "crop", "crop_seconds": 0.6, "chunk_encoder": "lstm", "lstm_layers": 1},
}
FINETUNE = {"epochs": 3, "patience": 3, "folds": 2, "keep": "all"}


def settings(tiny: Callable[..., Params], **sections: Any) -> tuple[Params, ComparisonParams]:
    """Parameters, and those of the recipe: sequence unless ``penalisation`` is named."""
    base: dict[str, Any] = {"finetune": FINETUNE, "report": {"resamples": 100}, "encoder": {"max_seconds": "auto"}}
    if "penalisation" in sections:
        recipe: ComparisonParams = PenalisationParams.model_validate(sections.pop("penalisation"))
    else:
        recipe = SequenceParams.model_validate({"systems": SYSTEMS, "timed": 5} | sections.pop("sequence", {}))
    return tiny(**{name: base.get(name, {}) | sections.get(name, {}) for name in {**base, **sections}}), recipe


def with_votes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Four raters an utterance, of whom one hears the class after the true one."""
    classes = sorted({row["emotion"] for row in rows})
    after = dict(zip(classes, [*classes[1:], classes[0]], strict=True))
    return [
        {
            **row,
            **{f"votes_{name}": 3.0 * (name == row["emotion"]) + (name == after[row["emotion"]]) for name in classes},
        }
        for row in rows
    ]
