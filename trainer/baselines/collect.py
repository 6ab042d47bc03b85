"""From the stored answers of the baselines to their tables, in the form of fine-tuning's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainer.baselines.functionals import Functionals
from trainer.data.rows import Target, text
from trainer.data.shards import Shards
from trainer.finetuning.plan import Run
from trainer.objectives.base import columns
from trainer.objectives.metrics import classification
from trainer.params import Params
from trainer.store import write_table

if TYPE_CHECKING:
    from trainer.baselines.trials import Trial

ANSWERS = "answers.json"  # in the folder of a finished trial


def collect(
    trials: Sequence[Trial],
    shards: Shards,
    tables: dict[str, Functionals],
    params: Params,
    *,
    store: Path,
    reports: Path,
) -> pd.DataFrame:
    """Measure the stored predictions; everything that an honest reader needs with a number is in its row."""
    options, target = params.baselines, params.finetune.target
    speakers = text(shards.rows, "speaker")
    runs, predictions = [], []
    for trial in trials:
        run = trial.run
        answers = json.loads((store / trial.key / ANSWERS).read_text(encoding="utf-8"))
        truth = run.objective.encode(shards.rows.iloc[run.test], target)
        frame, measured = (_answered if run.objective.is_classes else _estimated)(run, truth, answers)
        identity = {"corpus": run.corpus, "mode": trial.mode, "fold": run.fold, "seed": run.seed}
        runs.append(
            {
                **identity,
                "target": target,
                "n_classes": len(run.objective.names) if run.objective.is_classes else 0,
                "objective": run.objective.kind,
                "label_source": run.label_source or None,
                "label_rule": run.label_rule or None,
                "protocol": run.protocol,
                "label_fraction": params.finetune.share,
                "penalty": "none",
                "pretrain_tasks": None,
                "transfer": None,
                "parent": None,
                "normalisation": options.normalisation if trial.features else None,
                "allow_pretrain_speakers": False,
                "pretrain_speakers_in_test": 0,
                "features": trial.features,
                "n_features": len(tables[trial.features].feature_names) if trial.features else 0,
                "train_rows": options.rows,
                "n_train": len(trial.train),
                "n_dev": 0,
                "n_test": len(run.test),
                "n_test_without_features": answers["without"],
                **measured,
            }
        )
        about = {"segment_id": list(shards.rows["segment_id"].iloc[run.test]), "speaker": speakers[run.test]}
        predictions.append(pd.DataFrame({**identity, **about}).join(frame))
    return write(reports, pd.DataFrame(runs), pd.concat(predictions, ignore_index=True))


def _answered(run: Run, truth: Target, answers: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return columns of the prediction table, and the measures: of one class an utterance."""
    names = run.objective.names
    predicted = np.array(answers["predicted"], dtype=np.int64)
    known = np.array(names, dtype=object)
    probabilities = np.full((len(truth), len(names)), np.nan)
    if answers["probabilities"]:
        probabilities = np.array(answers["probabilities"], dtype=float)
    frame = pd.DataFrame({"target": known[truth], "predicted": known[predicted]})
    frame["confidence"] = probabilities.max(axis=1)
    return frame.join(columns("p", names, probabilities)), classification(truth, predicted)


def _estimated(run: Run, truth: Target, answers: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the same of attributes."""
    predicted = np.array(answers["predicted"], dtype=float).reshape(truth.shape)
    return run.objective.table(truth, predicted), run.objective.measure(truth, predicted)


def write(reports: Path, table: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Write baselines_runs (.parquet, .csv) and baselines_predictions.parquet under ``reports``; return the first."""
    write_table(reports / "baselines_runs.parquet", table)
    write_table(reports / "baselines_runs.csv", table)
    write_table(reports / "baselines_predictions.parquet", predictions)
    return table
