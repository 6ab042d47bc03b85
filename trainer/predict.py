"""Prediction: a shard folder and a checkpoint to one row a segment."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.data.rows import text
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.front_end import check_front_end
from trainer.models.checkpoint import load_model, model_kind
from trainer.params import RuntimeParams
from trainer.predictor import target_of, temperature_of
from trainer.recipes.orofacial.network import FaceSpec, load_face
from trainer.store import write_table
from trainer.training.loop import make_deterministic, run_network


def predict(
    shards_folder: str | Path,
    model: str | Path,
    out: str | Path | None = None,
    *,
    runtime: RuntimeParams | None = None,
    cache: str | Path = ".cache/trainer",
) -> pd.DataFrame:
    """Predict every row of a shard folder; write ``out`` (.parquet or .csv) if given.

    A checkpoint of the recipe orofacial gives `movements`. Raises InputError if features or frame period are not those
    of training, or were made with other settings.

    Returns:
        Columns segment_id, corpus, speaker, and for every target of the model: one class and its confidence (0..1)
        where there is one, and one probability per class (``<target>_p_<class>``), or one value per attribute.
    """
    runtime = runtime or RuntimeParams()
    make_deterministic(runtime, seed=0)
    if model_kind(model) in FaceSpec.kinds:
        return movements(shards_folder, model, out, cache=cache)
    loaded = load_model(model)
    shards = open_shards(shards_folder, cache=cache)
    check_front_end(loaded.config.get("front_end"), shards.front_end, where=str(shards_folder))
    data = loaded.spec.dataset(shards, np.arange(len(shards.rows)))
    outputs = run_network(loaded.network.to(runtime.device), data, batch_size=64, device=runtime.device)
    columns = _identity(shards)
    calibrated = {}
    if loaded.spec.kind == "finetune":
        own = target_of(loaded.spec, loaded.config)
        calibrated[own] = temperature_of(loaded.spec, loaded.config, where=str(model))
    for target, objective in loaded.spec.heads.items():
        logits = outputs.logits[target] / calibrated.get(target, 1.0)
        predicted, names = objective.predict(logits), objective.names
        if objective.one_class:
            columns[target] = [names[index] for index in predicted.argmax(axis=1)]
            columns[f"{target}_confidence"] = predicted.max(axis=1)
        prefix = f"{target}_p_" if objective.is_classes else ""
        columns |= {f"{prefix}{name}": predicted[:, index] for index, name in enumerate(names)}
    return _written(pd.DataFrame(columns), out)


def movements(
    shards_folder: str | Path, model: str | Path, out: str | Path | None = None, *, cache: str | Path = ".cache/trainer"
) -> pd.DataFrame:
    """Predict the mouth movement of every row with a model of the recipe orofacial; write ``out`` if given.

    Raises InputError for another kind of file than .parquet, which a list a row needs.

    Returns:
        Columns segment_id, corpus, speaker, n_frames, and ``mouth``: flat, n_frames x coordinates in the order of the
        model's ``config.json`` (frame_targets.tracks.names), inter-ocular distances.
    """
    if out is not None and Path(out).suffix != ".parquet":
        raise InputError(f"{out}: movement is a list a segment, which only .parquet holds")
    loaded, shards = load_face(model), open_shards(shards_folder, cache=cache)
    loaded.spec.check(shards)
    frames = (np.array(shards.features[a:b]) for a, b in pairwise(shards.offsets))
    moved = [loaded.spec.move(loaded.network, values).ravel() for values in frames]
    return _written(pd.DataFrame({**_identity(shards), "n_frames": shards.lengths, "mouth": moved}), out)


def _identity(shards: Shards) -> dict[str, object]:
    return {name: text(shards.rows, name) for name in ("segment_id", "corpus", "speaker")}


def _written(table: pd.DataFrame, out: str | Path | None) -> pd.DataFrame:
    if out is not None:
        write_table(out, table)
    return table
