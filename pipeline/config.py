"""Base of every parameter section and every extractor's identity."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

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


C = TypeVar("C", bound=Config)


def absolute(config: C) -> C:
    """Return a section whose paths are absolute, for a process that works in another folder.

    Only to open files with: the cache key holds the paths as they were written.

    >>> class Demo(Config):
    ...     model: Path = Path("a/model")
    >>> absolute(Demo()).model == Path.cwd() / "a/model"
    True
    """
    changed: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Path):
            changed[name] = value.absolute()
        elif isinstance(value, Config):
            changed[name] = absolute(value)
    return config.model_copy(update=changed)


def similar_key(model: type[BaseModel], place: Sequence[Any]) -> str:
    """Return ``; did you mean ...?`` for an unknown key at a place of a model, or nothing.

    >>> class Demo(Config):
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
