"""Base of every parameter section and every extractor's identity."""

from __future__ import annotations

from typing import TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

T = TypeVar("T")


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must be without repeats")
    return values


DISTINCT = AfterValidator(_distinct)  # for a field that is a tuple


class Config(BaseModel):
    """A frozen, strict section of ``params.yaml``.

    Unknown keys are refused, so that a typo never silently means "the default".
    An extractor's config is its *identity*: it holds what changes the numbers and nothing about how
    the work is run (workers, progress, cache place), because it becomes part of the cache key.

    >>> class Demo(Config):
    ...     hop: float = 0.01
    >>> Demo().hop
    0.01
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
