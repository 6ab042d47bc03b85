"""The contract of an objective: label columns to targets, loss, predictions out of the outputs, measures.

To add one: subclass `Objective` in a file of this folder, name it in OBJECTIVES (trainer/objectives/__init__.py) and in
the type of ``finetune.objective`` (trainer/params/tuning.py).
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import TypeAdapter
from torch import Tensor

from trainer.data.arrays import BoolArray, IntArray
from trainer.data.rows import Target
from trainer.objectives.losses import Loss
from trainer.objectives.metrics import Array, Measures
from trainer.params import FinetuneParams

LOWER_IS_BETTER = frozenset({"kl", "ece", "hamming", "ranking", "coverage"})


@dataclass(frozen=True)
class Objective(ABC):
    """Targets, loss, outputs and measures of one head; ``names`` are its outputs in order (classes or attributes)."""

    names: tuple[str, ...]

    kind: ClassVar[str]
    score: ClassVar[str]  # the measure that early stopping watches; greater is better
    is_classes: ClassVar[bool] = True  # outputs are probabilities of classes
    one_class: ClassVar[bool] = False  # and the most probable one is the answer
    of_emotion: ClassVar[bool] = False  # made of the manifest's emotion, so that its label rule matters

    @property
    @abstractmethod
    def shown(self) -> tuple[str, ...]:
        """Names of the measures, in the order of a report."""

    @classmethod
    @abstractmethod
    def plan(cls, rows: pd.DataFrame, options: FinetuneParams) -> Self:
        """Choose the outputs for the rows of one corpus; raises InputError if their labels do not do."""

    @abstractmethod
    def encode(self, rows: pd.DataFrame, target: str) -> Target:
        """Labels as the loss wants them: (N,) class indices, or (N, outputs) numbers."""

    def fitted(self, truth: Target) -> Self:
        """Return the objective with what it must know of the TRAINING rows' labels."""
        return self

    @abstractmethod
    def loss(self, truth: Target, *, label_smoothing: float, balanced: bool = True) -> Loss:
        """Return the loss; ``truth`` are the training rows' labels, by which ``balanced`` weighs their classes."""

    def predict(self, outputs: Tensor) -> npt.NDArray[np.float32]:
        """Network outputs (N, outputs) to probabilities, or to attributes in the corpus's scale."""
        return torch.softmax(outputs, dim=1).numpy()

    def labelled(self, truth: Target) -> BoolArray:
        """Which rows have a label, (N,)."""
        return ~np.isnan(truth).any(axis=1)

    def strata(self, truth: Target) -> IntArray:
        """Return groups from which a share of the labels is drawn evenly, (N,)."""
        return truth.argmax(axis=1).astype(np.int64)

    @abstractmethod
    def sums(self, truth: Target, predicted: Array) -> Array:
        """Return what each row adds to the sums that the measures are functions of: (N, D)."""

    @abstractmethod
    def measures(self, sums: Array) -> Measures:
        """(..., D) sums to measures of shape (...): those that are ``shown``, and ``chance``."""

    def per_class(self, sums: Array) -> Measures:
        """(..., D) sums to precision, recall, F1 and number (..., K) of each class; empty without classes."""
        return {}

    def measure(self, truth: Target, predicted: Array) -> dict[str, float]:
        """Measures over the rows that have a label; raises ValueError if none has."""
        has = self.labelled(truth)
        if not has.any():
            raise ValueError("nothing to measure: no rows with a label")
        values = self.measures(self.sums(truth[has], predicted[has]).sum(axis=0))
        return {name: float(value) for name, value in values.items() if np.isfinite(value)}

    def rule(self, stated: str) -> str:
        """How the target was made of labels; ``stated`` is what the manifest says of its ``emotion``."""
        return stated

    def source(self, stated: str) -> str:
        """Where the target comes from; ``stated`` is what the manifest says of its labels."""
        return stated

    def table(self, truth: Target, predicted: Array) -> pd.DataFrame:
        """Columns of the prediction table; `read` gets truth and prediction back from them."""
        return pd.concat([columns("p", self.names, predicted), columns("t", self.names, truth)], axis=1)

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> Self:
        """Return the objective of one corpus's rows of a prediction table."""
        return cls(tuple(name[2:] for name in map(str, table) if name.startswith("p_") and table[name].notna().any()))

    def read(self, table: pd.DataFrame) -> tuple[Target, Array]:
        """Truth and prediction of the rows of a prediction table."""
        truth, predicted = (table[[f"{side}_{name}" for name in self.names]].to_numpy(dtype=float) for side in "tp")
        return truth, predicted

    def to_json(self) -> dict[str, Any]:
        """As written to ``config.json``, without the names."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {"kind": self.kind} | {name: value for name, value in values.items() if name != "names"}

    @classmethod
    def from_json(cls, names: Sequence[str], raw: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; raises ValueError for other types than the fields have, or infinities."""
        fields = {**{name: value for name, value in raw.items() if name != "kind"}, "names": tuple(names)}
        json.dumps(fields, allow_nan=False)
        unknown = sorted(set(fields) - {item.name for item in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"objective {cls.kind} has no {', '.join(unknown)}")
        return TypeAdapter(cls).validate_python(fields)


def class_table(names: tuple[str, ...], truth: IntArray, predicted: Array) -> pd.DataFrame:
    """Columns target, predicted, confidence and p_<class> where one class is predicted; ``truth`` -1 becomes None."""
    labels = np.array([*names, None], dtype=object)
    answer = {"target": labels[truth], "predicted": labels[predicted.argmax(axis=1)]}
    return pd.DataFrame({**answer, "confidence": predicted.max(axis=1)}).join(columns("p", names, predicted))


def columns(prefix: str, names: tuple[str, ...], values: Array) -> pd.DataFrame:
    """(N, outputs) numbers as columns <prefix>_<name>: p for predicted, t for true ones."""
    return pd.DataFrame(values, columns=[f"{prefix}_{name}" for name in names])


def confusion_rows(truth: IntArray, predicted: IntArray, size: int) -> Array:
    """One confusion matrix a row, flat: (N, K * K)."""
    return np.eye(size * size)[truth * size + predicted]
