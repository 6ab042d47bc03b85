"""Recipes: named changes of the parameters, checked like the parameters themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer.errors import InputError
from trainer.params import Params, parse_params

# who is tested, on what, and what the ablation varies itself: the same for every recipe
_FIXED = frozenset(
    f"{section}.{name}"
    for section, names in {
        "finetune": "modes seeds folds dev dev_share objective target vote_threshold label_fraction "
        "allow_pretrain_speakers keep",
        "pretrain": "seed unlabelled_fraction",
    }.items()
    for name in names.split()
)
_SECTIONS = ("encoder", "pretrain", "finetune")


def changes(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a recipe to dotted keys; sections may be nested or dotted.

    >>> changes({"pretrain": {"tasks": [1, 3]}, "finetune.transfer": "conv"})
    {'pretrain.tasks': [1, 3], 'finetune.transfer': 'conv'}
    """
    return dict(_flat(recipe, prefix))


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def with_recipe(params: Params, name: str) -> Params:
    """Return ``params`` changed by a recipe of its section ``recipes``.

    Raises InputError for an unknown recipe, a wrong key or value, and a key that would change who is tested on what:
    such a recipe could not be compared with another.
    """
    if name not in params.recipes:
        known = ", ".join(sorted(params.recipes)) or "none"
        raise InputError(f"ablation.recipes: no recipe {name!r}; section recipes has: {known}")
    return with_changes(params, changes(params.recipes[name]), where=f"recipes.{name}")


def with_changes(params: Params, wanted: Mapping[str, Any], *, where: str) -> Params:
    """Return ``params`` with dotted keys of encoder, pretrain and finetune replaced; InputError names ``where``."""
    raw = params.model_dump(mode="json", include=set(_SECTIONS))
    for key, value in wanted.items():
        section, _, field = key.partition(".")
        if section not in _SECTIONS or not field:
            raise InputError(f"{where}: {key} is no key of {', '.join(_SECTIONS)}")
        if key in _FIXED:
            raise InputError(f"{where}: {key} is the same for all recipes; set it in its own section, or in ablation")
        *inner, last = field.split(".")
        place = raw[section]
        for name in inner:
            place = place.setdefault(name, {})  # a section that is not known is refused below
        place[last] = value
    changed = parse_params(raw, source=where)
    return params.model_copy(update={name: getattr(changed, name) for name in _SECTIONS})
