"""Acoustic features of one recording in pandas."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from pipeline.errors import InputError
from pipeline.front_end.listening import FrontEnd, Listener


def extract_features(
    source: str | Path, *, model: str | Path | None, start: float | None, end: float | None
) -> pd.DataFrame:
    """See `avser.extract`."""
    listener = Listener(_front_end(model))
    (stretch,) = listener.stretches(Path(source), start=start, end=end, whole=True)
    found = listener.features(Path(source), stretch)
    return pd.DataFrame(found.values, columns=listener.grid.names, index=pd.Index(found.times, name="time"))


def _front_end(model: str | Path | None) -> FrontEnd:
    if model is not None:
        path = Path(model) / "config.json"
        if not path.is_file():
            raise InputError(f"{model} is no model folder: config.json is missing")
        raw = json.loads(path.read_text(encoding="utf-8")).get("front_end")
        if not raw:
            raise InputError(f"{path} does not say how its features were made: train the model again")
        return FrontEnd.read(raw, where=str(model))
    if not Path("params.yaml").is_file():
        return FrontEnd()
    from pipeline.params import load_params

    params = load_params()
    return FrontEnd(
        column=params.shards.features, segments=params.segments, audio=params.audio, acoustics=params.acoustics
    )
