"""Variants: named changes of the parameters, checked like the parameters themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer.errors import InputError
from trainer.params import Params, parse_params

# who is tested, on what, and what the ablation varies itself: the same for every variant
_FIXED = frozenset(
    f"{section}.{name}"
    for section, names in {
        "finetune": "modes seeds folds dev dev_share objective target classes vote_threshold "
        "label_fraction "
        "allow_pretrain_speakers keep",
        "pretrain": "seed unlabelled_fraction",
    }.items()
    for name in names.split()
)
_SECTIONS = ("encoder", "pretrain", "finetune")


def changes(variant: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a variant to dotted keys; sections may be nested or dotted.

    >>> changes({"pretrain": {"tasks": [1, 3]}, "finetune.transfer": "conv"})
    {'pretrain.tasks': [1, 3], 'finetune.transfer': 'conv'}

    Raises:
        InputError: a key is given twice, nested and dotted.
    """
    found: dict[str, Any] = {}
    for key, value in _flat(variant, prefix):
        if key in found:
            raise InputError(f"{key} is given twice, nested and dotted: leave one of them")
        found[key] = value
    return found


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def with_variant(params: Params, name: str) -> Params:
    """Return ``params`` changed by a variant of its section ``variants``.

    Raises:
        InputError: an unknown variant, a wrong key or value, or a key that would change who is tested on what: such a
            variant could not be compared with another.
    """
    if name not in params.variants:
        known = ", ".join(sorted(params.variants)) or "none"
        raise InputError(f"no variant {name!r}; section variants has: {known}")
    return with_changes(params, changes(params.variants[name]), where=f"variants.{name}")


def with_changes(params: Params, wanted: Mapping[str, Any], *, where: str) -> Params:
    """Return ``params`` with dotted keys of encoder, pretrain and finetune replaced; InputError names ``where``."""
    raw = params.model_dump(mode="json", include=set(_SECTIONS))
    for key, value in wanted.items():
        section, _, field = key.partition(".")
        if section not in _SECTIONS or not field:
            raise InputError(f"{where}: {key} is no key of {', '.join(_SECTIONS)}")
        if ".".join(key.split(".")[:2]) in _FIXED:
            raise InputError(
                f"{where}: {key} is the same for all variants; set it in its own section or in the ablation"
            )
        *inner, last = field.split(".")
        place = raw[section]
        for name in inner:
            place = place.setdefault(name, {})  # a section that is not known is refused below
            if not isinstance(place, dict):
                raise InputError(f"{where}: {key}: {name} is no section")
        place[last] = value
    changed = parse_params(raw, source=where)
    return params.model_copy(update={name: getattr(changed, name) for name in _SECTIONS})
