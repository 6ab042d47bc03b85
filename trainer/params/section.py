"""What sections of ``params.yaml`` share: a strict base, and the types that several of them use."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen, strict section: an unknown key is refused, so that a typo never means "the default"."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values or len(set(values)) != len(values):
        raise ValueError("must be non-empty and without repeats")
    return values


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must be without repeats")
    return values


def _distinct_shares(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values or len(set(values)) != len(values) or not all(0 < value <= 1 for value in values):
        raise ValueError("must be one or more different shares above 0 and up to 1")
    return tuple(sorted(values))


DISTINCT = AfterValidator(_distinct)  # of a tuple, in Annotated
UNIQUE = AfterValidator(_unique)  # the same, which may be empty
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # what torch's generators take
Seeds = Annotated[tuple[Seed, ...], DISTINCT]
Count = Annotated[int, Field(ge=1, le=1_000_000)]  # of epochs, utterances, resamples
Size = Annotated[int, Field(ge=1, le=4096)]  # of a layer
Layers = Annotated[int, Field(ge=1, le=32)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Shares = Annotated[tuple[float, ...], AfterValidator(_distinct_shares)]
Measure = Literal[
    "uar",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "accuracy",
    "kl",
    "ece",
    "f1_over_chance",
    "hamming",
    "ranking",
    "coverage",
    "ccc",
]


def similar_key(model: type[BaseModel], place: Sequence[Any]) -> str:
    """Return ``; did you mean ...?`` for an unknown key at a place of a model, or nothing.

    >>> class Demo(Section):
    ...     hop: float = 0.01
    >>> similar_key(Demo, ("hopp",))
    "; did you mean 'hop'?"
    """
    for name in place[:-1]:
        held = model.model_fields.get(str(name))
        kinds = [held.annotation, *get_args(held.annotation)] if held else []
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            return ""
        model = inner
    near = difflib.get_close_matches(str(place[-1]), list(model.model_fields), n=1) if place else []
    return f"; did you mean {near[0]!r}?" if near else ""
