"""Finished runs to tables, and the checkpoints that are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.data.rows import text
from trainer.data.shards import Shards
from trainer.finetuning.plan import Run, normalisation_of
from trainer.finetuning.students import ENSEMBLE
from trainer.models.checkpoint import model_fingerprint
from trainer.params import FinetuneParams
from trainer.pretraining.pretext import pretext_summary
from trainer.store import free_place, replace_folder, seal, slug, write_json, write_table


def collect(
    runs: list[Run], finished: Path, shards: Shards, options: FinetuneParams, *, out: Path, reports: Path
) -> pd.DataFrame:
    """Gather the ``finished`` folders of ``runs`` into tables under ``reports`` and kept checkpoints under ``out``.

    Writes finetune_runs (.parquet, .csv; one row a run), predictions.parquet (one row per test utterance and run) and
    finetune_history.csv; returns the first. Everything that an honest reader needs to judge a number is in its row.
    """
    table, predictions, history = gather(runs, finished, shards, options)
    write_table(reports / "finetune_runs.parquet", table)
    write_table(reports / "finetune_runs.csv", table)
    write_table(reports / "predictions.parquet", predictions)
    write_table(reports / "finetune_history.csv", history)
    replace_folder(out, lambda folder: keep_models(folder, finished, runs, table, keep=options.keep))
    return table


def gather(
    runs: list[Run], finished: Path, shards: Shards, options: FinetuneParams
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Read finished runs back.

    Returns:
        Results, a row a run; predictions, a row per test utterance and run; history, a row per epoch and run.
    """
    results, predictions, histories = [], [], []
    folders = {run.parent for run in runs if run.parent is not None}
    parents = {folder: {**_config(folder), "fingerprint": model_fingerprint(folder)} for folder in folders}
    for run in runs:
        folder = finished / run.key
        parent = parents[run.parent] if run.parent is not None else None
        results.append(_result(run, folder, shards, options, parent))
        predicted = np.load(folder / "predictions.npy", allow_pickle=False)
        tested = shards.rows.iloc[run.test]
        who = {"segment_id": list(tested["segment_id"]), "speaker": text(tested, "speaker")}
        answers = run.objective.table(run.objective.encode(tested, options.target), predicted)
        predictions.append(pd.DataFrame({**run.identity, **who}).join(answers))
        histories.append(pd.read_csv(folder / "history.csv").assign(**run.identity))
    return pd.DataFrame(results), pd.concat(predictions, ignore_index=True), pd.concat(histories, ignore_index=True)


def _config(folder: Path) -> dict[str, Any]:
    """Read what a model folder says of itself."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _result(
    run: Run, folder: Path, shards: Shards, options: FinetuneParams, parent: dict[str, Any] | None
) -> dict[str, object]:
    """Row of results of a run; ``parent``: ``config.json`` of the model that it started from, and its fingerprint."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    del metrics["classes"]
    pretrain_speakers = set() if parent is None else set(parent["speakers"])
    return {
        **run.identity,
        "target": options.target,
        "objective": run.objective.kind,
        "label_source": run.label_source or None,
        "label_rule": run.label_rule or None,
        "n_classes": len(run.objective.names) if run.objective.is_classes else 0,
        "normalisation": named_normalisation(run.mode, options, parent),
        "protocol": run.protocol,
        "label_fraction": options.share,
        "penalty": str(options.penalty),
        "pretrain_tasks": None if parent is None else pretext_summary(parent),
        "transfer": None if parent is None else options.transfer,
        "parent": None if parent is None else parent["fingerprint"][:12],
        "allow_pretrain_speakers": options.allow_pretrain_speakers,
        "pretrain_speakers_in_test": len(pretrain_speakers & set(shards.speakers[run.test])),
        **{name: value for name, value in metrics.items() if name not in run.identity},
    }


def named_normalisation(mode: str, options: FinetuneParams, parent: dict[str, Any] | None) -> str:
    """Name whose statistics normalise the features; of a parent's also which these are, if no training statistics."""
    named = normalisation_of(mode, options)
    scope = "train" if parent is None or named != "parent" else parent["normalisation"].get("scope", "train")
    return named if scope == "train" else f"{named} ({scope})"


def keep_models(folder: Path, finished: Path, runs: list[Run], table: pd.DataFrame, *, keep: str) -> None:
    """Copy the chosen checkpoints and list them in index.json; row i of ``table`` belongs to run i."""
    networks = [
        position for position, run in enumerate(runs) if run.mode != ENSEMBLE
    ]  # which has no weights of its own
    chosen = [runs[position] for position in networks] if keep == "all" else []
    if keep == "best":  # by held-out training speakers, never by the test fold
        table = table.iloc[networks]
        score = table["dev_score"].astype(float).fillna(-np.inf)  # nobody held out: the first of all
        best = score.groupby([table["corpus"], table["mode"]], sort=True).idxmax()
        chosen = [runs[int(position)] for position in best]
    index = []
    for run in chosen:
        place = free_place(folder / slug(run.corpus) / run.mode / (run.name if keep == "all" else ""))
        shutil.copytree(finished / run.key, place, ignore=shutil.ignore_patterns("*.npy"))
        seal(place)
        index.append({"folder": place.relative_to(folder).as_posix(), **run.identity})
    write_json(folder / "index.json", index)
