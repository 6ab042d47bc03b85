"""Answers against the truth over all test folds and seeds, for tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from trainer.data.rows import class_indices
from trainer.evaluation.pooled import Pooled
from trainer.evaluation.tables import modes_in_order
from trainer.objectives.metrics import Array, confusion


@dataclass(frozen=True)
class Answers:
    """Of one corpus and mode.

    Classes: ``counts`` (K, K), how often each class (column) is answered where another (row) is true, and ``totals``
    (K,), how often each is true. Attributes: ``truth`` and ``predicted``, (utterances, attributes).
    """

    corpus: str
    mode: str
    names: tuple[str, ...]
    counts: Array | None = None
    totals: Array | None = None
    truth: Array | None = None
    predicted: Array | None = None


def answers(predictions: pd.DataFrame, pooled: dict[str, Pooled]) -> Iterator[Answers]:
    """Yield the answers of every corpus and mode, in the order of the result table."""
    for corpus in sorted(pooled):
        objective = pooled[corpus].objective
        rows = predictions[predictions["corpus"] == corpus]
        for mode in modes_in_order(rows["mode"]):
            group = rows[rows["mode"] == mode]
            truth, predicted = objective.read(group)
            if not objective.is_classes:
                yield Answers(corpus, mode, objective.names, truth=truth, predicted=predicted)
            elif objective.one_class:
                labelled = group.dropna(subset=["target"])
                actual, answer = (
                    class_indices(list(labelled[name]), objective.names) for name in ("target", "predicted")
                )
                counts = confusion(actual, answer, len(objective.names)).astype(float)
                yield Answers(corpus, mode, objective.names, counts=counts, totals=counts.sum(axis=1))
            else:
                named = truth > 0.5
                together = named.T.astype(float) @ (predicted > 0.5).astype(float)
                yield Answers(corpus, mode, objective.names, counts=together, totals=named.sum(axis=0).astype(float))
