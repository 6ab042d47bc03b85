"""Made-up results in the form of fine-tuning's tables, for tests of what is made of them; the measures are computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.objectives.metrics import classification
from trainer.params import ReportParams
from trainer.store import seal

EIGHT = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
CORPORA = {"synthetic-corpus-with-a-long-name": EIGHT, "synthetic-labelled": ("anger", "happiness", "sadness")}
SKILL = {"scratch": 0.55, "pretrained": 0.58, "frozen": 0.4, "majority": 0.0, "svm-linear compare": 0.5}


def _rules(n_classes: int, *, label_rule: str | None = None, **rules: str | None) -> dict[str, Any]:
    """Return the columns of a run that say under which rules it was measured."""
    return {
        "target": "emotion",
        "objective": "hard",
        "n_classes": n_classes,
        "label_rule": label_rule,
        "label_fraction": 1.0,
        "normalisation": "train",
        "allow_pretrain_speakers": False,
        "pretrain_speakers_in_test": 0,
        **rules,
    }


def tables(
    corpora: dict[str, tuple[str, ...]] | None = None,
    *,
    modes: Sequence[str] = tuple(SKILL),
    folds: int = 3,
    seeds: int = 2,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return runs, predictions and history: answers are right as often as ``SKILL`` says, else drawn from all classes.

    ``seed`` draws the answers; who is asked, and what is true, does not depend on it.
    """
    runs: list[dict[str, Any]] = []
    predictions: list[pd.DataFrame] = []
    history: list[dict[str, Any]] = []
    for corpus, classes in (corpora or CORPORA).items():
        names = np.array(classes)
        for mode in modes:
            for fold in range(folds):
                truth = np.arange(12 * len(classes)) % len(classes)
                for number in range(seeds):
                    rng = np.random.default_rng([seed, len(corpus), list(SKILL).index(mode), fold, number])
                    right = rng.random(len(truth)) < SKILL[mode]
                    answer = np.where(right, truth, rng.integers(0, len(classes), len(truth)))
                    keys = {"corpus": corpus, "mode": mode, "fold": f"fold {fold}", "seed": number}
                    speakers = [f"speaker{2 * fold + i % 2}" for i in range(len(truth))]
                    rows = {"segment_id": [f"{fold}_{i}" for i in range(len(truth))], "speaker": speakers}
                    answers = {"target": names[truth], "predicted": names[answer]}
                    predictions.append(pd.DataFrame({**rows, **answers}).assign(**keys))
                    trained = mode in ("pretrained", "frozen")
                    rules = _rules(
                        len(classes), protocol=f"{folds} folds by speaker", label_source="acted",
                        pretrain_tasks="energy+motion+aus" if trained else None, transfer="conv" if trained else None,
                    )  # fmt: skip
                    chance = {"chance": 1 / len(classes)}
                    runs.append({**keys, **rules, **classification(truth, answer), **chance})
                    for epoch in range(1, 6):
                        losses = {"train_loss": 1 / epoch, "dev_loss": 1 / epoch, "dev_score": 0.1 * epoch}
                        history.append({**keys, "epoch": epoch, **losses})
    return pd.DataFrame(runs), pd.concat(predictions, ignore_index=True), pd.DataFrame(history)


def write_tables(reports: Path, **options: Any) -> None:
    """Write the tables that the report reads."""
    _write(reports, *tables(**options))


def _write(reports: Path, runs: pd.DataFrame, predictions: pd.DataFrame, history: pd.DataFrame) -> None:
    reports.mkdir(parents=True, exist_ok=True)
    runs.to_parquet(reports / "finetune_runs.parquet")
    predictions.to_parquet(reports / "predictions.parquet")
    history.to_csv(reports / "finetune_history.csv", index=False)


def write_example(folder: Path) -> ReportParams:
    """Write tables, a pretrained model's measures and the pipeline's counts; return the parameters of their report."""
    write_tables(folder / "reports")
    model = folder / "pretrain"
    model.mkdir()
    counts = {"high": 60, "low": 50}
    task = {"uar": 0.7, "macro_f1": 0.7, "chance": 0.5, "train_labels": counts, "held_out_labels": counts}
    encoder = {"effective_rank_before": 14.5, "effective_rank": 14.1, "dead_units": 0.0}
    metrics = {
        "tasks": {"energy_variation": task},
        "dense": {"energy": 0.94, "AU43": None},
        "held_out": {"part": "dev", "rows": 22, "speakers": 2},
        "encoder": encoder,
    }
    (model / "metrics.json").write_text(json.dumps(metrics))
    (model / "config.json").write_text(json.dumps({"corpora": ["synthetic-unlabelled"]}))
    curve = pd.DataFrame({"epoch": [1, 2, 3], "dev_energy_variation_uar": [0.5, 0.6, 0.7], "dev_dense_r": 0.5})
    curve.to_csv(model / "history.csv", index=False)
    seal(model)
    one = {
        "corpora": ["synthetic-unlabelled"],
        "clips_in": 110,
        "clips_quarantined": 1,
        "segments": 109,
        "speakers": 10,
    }
    label = {"counts": counts, "missing": {"margin N below labels.au_emotion.min_confidence": 8}}
    summary = {
        "unlabelled": {**one, "hours": 0.12, "quarantined": {"faces": {"<no face>": 1}}},
        "faces": {"segments_with_a_face": 109, "frames": 11053, "share_of_frames_valid": 0.998},
        "pseudo_labels": {
            "segments": 110,
            **dict.fromkeys(("t1", "t2", "t3"), label),
            "spearman": {"t1_stat~t2_stat": 0.11, "t2_mouth~t2_rest": None},
        },
        "planted_truth": {"t1": {"n": 110, "uar": 0.927, "uar_chance": 0.5, "kappa": 0.855}},
        "planted_action_units": {"AU12": 0.876, "AU20": -0.122},
    }
    (folder / "pipeline.json").write_text(json.dumps(summary))
    return ReportParams(summary=str(folder / "pipeline.json"), resamples=200)


def two_folds(corpus: str = "emodb") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return runs and predictions of two modes, two folds, one seed; pretrained is .1 better in every pair."""
    rows, predictions = [], []
    for mode, gain in (("scratch", 0.0), ("pretrained", 0.1)):
        for fold, base in (("fold 1", 0.4), ("fold 2", 0.6)):
            value = base + gain
            rows.append(
                {
                    "corpus": corpus,
                    "mode": mode,
                    "fold": fold,
                    "seed": 0,
                    **dict.fromkeys(("macro_precision", "uar", "macro_f1", "accuracy"), value),
                    "chance": 0.5,
                    **_rules(
                        2,
                        protocol="2 folds by speaker",
                        label_source="voice",
                        label_rule="majority",
                        pretrain_tasks="1+2+3" if gain else None,
                        transfer="all" if gain else None,
                    ),
                }
            )
            for target, predicted in (("anger", "anger"), ("sadness", "anger" if fold == "fold 1" else "sadness")):
                entry = {"segment_id": f"{fold}{target}", "speaker": fold, "target": target, "predicted": predicted}
                predictions.append({"corpus": corpus, "mode": mode, "fold": fold, "seed": 0, **entry})
    return pd.DataFrame(rows), pd.DataFrame(predictions)


def write_two_folds(folder: Path, corpus: str = "emodb") -> None:
    """Write what fine-tuning writes: runs, predictions and history of `two_folds`."""
    runs, predictions = two_folds(corpus)
    keys = runs[["corpus", "mode", "fold", "seed"]]
    history = pd.concat([keys.assign(epoch=e, train_loss=1.0, dev_loss=1.0, dev_score=0.3 + e / 10) for e in (1, 2)])
    _write(folder, runs, predictions, history)
