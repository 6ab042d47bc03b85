"""Finished units to tables, and the model folders that are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.data.rows import speaker_keys, text
from trainer.data.shards import Shards
from trainer.finetuning.plan import Run, normalisation_of
from trainer.models.checkpoint import Checkpoint
from trainer.params import FinetuneParams
from trainer.pretraining.pretext import pretext_summary
from trainer.store import replace_file, replace_folder, slug, write_json


def collect(
    units: list[Run],
    finished: Path,
    shards: Shards,
    options: FinetuneParams,
    parent: Checkpoint | None,
    *,
    out: Path,
    reports: Path,
) -> pd.DataFrame:
    """Gather the ``finished`` folders of ``units`` into tables under ``reports`` and kept models under ``out``.

    Writes finetune_runs (.parquet, .csv; one row a unit), predictions.parquet (one row per test utterance and unit) and
    finetune_history.csv; returns the runs. Everything that an honest reader needs beside a number is in its row.
    """
    table, everything, history = gather(units, finished, shards, options, parent)
    replace_file(reports / "finetune_runs.parquet", lambda path: table.to_parquet(path, index=False))
    replace_file(reports / "finetune_runs.csv", lambda path: table.to_csv(path, index=False))
    replace_file(reports / "predictions.parquet", lambda path: everything.to_parquet(path, index=False))
    replace_file(reports / "finetune_history.csv", lambda path: history.to_csv(path, index=False))
    replace_folder(out, lambda folder: keep_models(folder, finished, units, table, keep=options.keep))
    return table


def gather(
    units: list[Run], finished: Path, shards: Shards, options: FinetuneParams, parent: Checkpoint | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Read finished units back: runs (a row a unit), predictions (a row per test utterance and unit), history."""
    heard = set(parent.config["speakers"]) if parent is not None else set()
    keys = speaker_keys(shards.rows, unknown_is_own=True)
    runs, predictions, histories = [], [], []
    for unit in units:
        folder = finished / unit.key
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        uses_parent = unit.mode != "scratch" and parent is not None
        objective = unit.objective
        del metrics["classes"]
        identity = {name: metrics.pop(name) for name in ("corpus", "mode", "fold", "seed")}
        runs.append(
            {
                **identity,
                "target": options.target,
                "objective": objective.kind,
                "label_source": unit.label_source or None,
                "label_rule": unit.label_rule or None,
                "n_classes": len(objective.names) if objective.is_classes else 0,
                "normalisation": normalisation_of(unit.mode, options),
                "protocol": unit.protocol,
                "label_fraction": options.label_fraction,
                "penalty": str(options.penalty),
                "pretrain_tasks": pretext_summary(parent.config) if uses_parent and parent is not None else None,
                "transfer": options.transfer if uses_parent else None,
                "allow_pretrain_speakers": options.allow_pretrain_speakers,
                "pretrain_speakers_in_test": len(heard & set(keys[unit.test])) if uses_parent else 0,
                **metrics,
            }
        )
        told = np.load(folder / "predictions.npy", allow_pickle=False)
        tested = shards.rows.iloc[unit.test]
        who = {"segment_id": list(tested["segment_id"]), "speaker": text(tested, "speaker")}
        answers = objective.table(objective.encode(tested, options.target), told)
        predictions.append(pd.DataFrame({**identity, **who}).join(answers))
        histories.append(pd.read_csv(folder / "history.csv").assign(**identity))
    return pd.DataFrame(runs), pd.concat(predictions, ignore_index=True), pd.concat(histories, ignore_index=True)


def keep_models(folder: Path, finished: Path, units: list[Run], table: pd.DataFrame, *, keep: str) -> None:
    """Copy the chosen model folders and list them in index.json; row i of ``table`` belongs to unit i."""
    if keep == "all":
        chosen = units
    elif keep == "best":  # by held-out training speakers, never by the test fold
        score = table["dev_score"].astype(float).fillna(-np.inf)  # nobody held out: the first of all
        best = score.groupby([table["corpus"], table["mode"]], sort=True).idxmax()
        chosen = [units[int(position)] for position in best]
    else:
        chosen = []
    index = []
    for unit in chosen:
        place = Path(slug(unit.corpus)) / unit.mode / (unit.name if keep == "all" else "")
        shutil.copytree(finished / unit.key, folder / place, ignore=shutil.ignore_patterns("*.npy"))
        identity = {"corpus": unit.corpus, "mode": unit.mode, "fold": unit.fold, "seed": unit.seed}
        index.append({"folder": place.as_posix(), **identity})
    write_json(folder / "index.json", index)
