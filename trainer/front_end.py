"""Whether shards were made as those of a model's training, from what the pipeline says of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.errors import InputError

# Where a speech model lies is no matter: its own hash stands under speech_model.
_DECIDING, _PLACES = ("column", "audio", "acoustics", "speech_model"), ("acoustics.speech_model.path",)


def check_front_end(model: Mapping[str, Any] | None, shards: Mapping[str, Any] | None, *, where: str) -> None:
    """Refuse shards whose features were made with other settings than the model's.

    Names and frame period may agree all the same: the length of a frame changes neither.

    Args:
        model: entry ``front_end`` of its ``config.json``; None: a model of an earlier version.
        shards: that of the shards; None: likewise.
        where: what to call the shards.

    Raises:
        InputError: names every setting that differs, and both values.
    """
    if not model or not shards:
        return
    wanted, found = (_settings(entry) for entry in (model, shards))
    differing = [
        f"{key}: the model {wanted.get(key)}, here {found.get(key)}"
        for key in sorted({*wanted, *found} - {*_PLACES})
        if wanted.get(key) != found.get(key)
    ]
    if differing:
        raise InputError(f"{where} was made with other settings than the model needs: {'; '.join(differing)}")


def _settings(front_end: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide a feature, with dotted names."""
    import pandas as pd

    chosen = {name: front_end[name] for name in _DECIDING if name in front_end}
    return {str(name): value for name, value in pd.json_normalize(chosen).iloc[0].items()}
