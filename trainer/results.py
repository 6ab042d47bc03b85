"""From single runs to the table: means, spread, paired tests, and what DVC shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.data import class_indices
from trainer.metrics import MEASURES, classification, paired_test, spread

TITLES = {"macro_precision": "macro P", "uar": "UAR", "macro_f1": "macro F1", "accuracy": "accuracy"}
MODE_ORDER = {"scratch": 0, "pretrained": 1, "frozen": 2}
# columns that say under which rules a number was won; constant within a corpus and mode
RULES = (
    "target",
    "n_classes",
    "label_source",
    "label_fraction",
    "pretrain_tasks",
    "transfer",
    "normalisation",
    "allow_pretrain_speakers",
)


def result_table(runs: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per corpus and mode: mean and standard deviation over folds x seeds, chance, rules.

    ``pooled_uar`` and ``pooled_macro_f1`` are taken over all folds' test predictions together, once a seed, then
    averaged: what papers report who count each utterance once.
    """
    rows = []
    for corpus, mode in sorted(
        set(zip(runs["corpus"], runs["mode"], strict=True)), key=lambda pair: (pair[0], MODE_ORDER[pair[1]])
    ):
        group = runs[(runs["corpus"] == corpus) & (runs["mode"] == mode)]
        row: dict[str, Any] = {
            "corpus": corpus,
            "mode": mode,
            "folds": group["fold"].nunique(),
            "seeds": group["seed"].nunique(),
        }
        for measure in MEASURES:
            row |= {f"{measure}_{name}": value for name, value in spread(group[measure].tolist()).items()}
        told = predictions[(predictions["corpus"] == corpus) & (predictions["mode"] == mode)]
        pooled = [_pooled(per_seed) for _, per_seed in told.groupby("seed")]
        for measure in ("uar", "macro_f1"):
            row[f"pooled_{measure}"] = float(np.mean([value[measure] for value in pooled]))
        row["chance"] = float(group["chance"].mean())
        row |= {name: group[name].iloc[0] for name in RULES}
        row["pretrain_speakers_in_test"] = int(group["pretrain_speakers_in_test"].sum())
        rows.append(row)
    return pd.DataFrame(rows)


def paired_table(runs: pd.DataFrame, *, alpha: float) -> pd.DataFrame:
    """Every other mode against scratch on the same folds and seeds: one row per corpus, mode and measure."""
    rows = []
    for corpus, group in runs.groupby("corpus", sort=True):
        modes = [mode for mode in MODE_ORDER if mode in set(group["mode"])]
        for mode in modes if "scratch" in modes else []:
            if mode == "scratch":
                continue
            for measure in MEASURES:
                pairs = group.pivot_table(index=["fold", "seed"], columns="mode", values=measure)
                pairs = pairs[[mode, "scratch"]].dropna()
                test = paired_test(pairs[mode].to_numpy(), pairs["scratch"].to_numpy(), alpha=alpha)
                rows.append({"corpus": corpus, "mode": mode, "measure": measure, **test})
    columns = [
        "corpus",
        "mode",
        "measure",
        "n",
        "mean_difference",
        "std_difference",
        "p_t_test",
        "p_wilcoxon",
        "verdict",
    ]
    return pd.DataFrame(rows, columns=columns)


def paired_line(row: Mapping[str, Any]) -> str:
    """Put a paired test into words."""
    numbers = [f"{name} {_p(row[key])}" for key, name in (("p_t_test", "t-test"), ("p_wilcoxon", "Wilcoxon"))]
    return (
        f"{row['corpus']}: {row['mode']} - scratch, {TITLES[row['measure']]}: {row['mean_difference']:+.3f} "
        f"± {row['std_difference']:.3f} over {row['n']} pairs; {', '.join(numbers)}: {row['verdict']}"
    )


def metrics_json(table: pd.DataFrame, paired: pd.DataFrame, pretrain: dict[str, Any] | None) -> dict[str, Any]:
    """Small nested numbers for ``dvc metrics show`` and ``diff``."""
    summary: dict[str, Any] = {}
    if pretrain is not None:
        tasks = {
            name: {key: values[key] for key in ("uar", "macro_f1", "chance") if key in values}
            for name, values in pretrain["tasks"].items()
        }
        encoder = {key: pretrain["encoder"][key] for key in ("effective_rank", "dead_units")}
        tracks = {"dense_r": pretrain["dense"]} if "dense" in pretrain else {}
        summary["pretrain"] = _rounded({**tasks, **tracks, "encoder": encoder})
    finetuned: dict[str, Any] = {}
    for row in table.to_dict("records"):
        values = {measure: {"mean": row[f"{measure}_mean"], "std": row[f"{measure}_std"]} for measure in MEASURES}
        finetuned.setdefault(row["corpus"], {})[row["mode"]] = {**values, "chance": row["chance"]}
    for row in paired.to_dict("records"):
        name = f"{row['mode']}_minus_scratch"
        test = {key: row[key] for key in ("mean_difference", "std_difference", "p_t_test", "p_wilcoxon", "n")}
        finetuned[row["corpus"]].setdefault(name, {})[row["measure"]] = {
            key: None if pd.isna(value) else value for key, value in test.items()
        }
    return {**summary, "finetune": _rounded(finetuned)}


def write_plots(
    folder: Path, predictions: pd.DataFrame, history: pd.DataFrame, pretrain_history: pd.DataFrame | None
) -> None:
    """CSV files for ``dvc plots show``: history/*.csv (a row an epoch) and confusion/*.csv (actual, predicted)."""
    for name in ("history", "confusion"):
        (folder / name).mkdir(parents=True)
    if pretrain_history is not None:
        pretrain_history.to_csv(folder / "history" / "pretrain.csv", index=False)
    for (corpus, mode), group in history.groupby(["corpus", "mode"], sort=True):
        mean_history(group).to_csv(folder / "history" / f"finetune_{slug(f'{corpus}_{mode}')}.csv", index=False)
    for (corpus, mode), group in predictions.groupby(["corpus", "mode"], sort=True):
        told = group.rename(columns={"target": "actual"})[["actual", "predicted"]]
        told.to_csv(folder / "confusion" / f"{slug(f'{corpus}_{mode}')}.csv", index=False)


def mean_history(history: pd.DataFrame) -> pd.DataFrame:
    """Average the runs of one mode, a row an epoch; a run that stopped early stays where it stopped.

    Without that the later epochs would average the few runs that went on, and the curve would jump.
    """
    columns = {
        name: history.pivot_table(index="epoch", columns=["fold", "seed"], values=name).ffill().mean(axis=1)
        for name in ("train_loss", "dev_loss", "dev_uar")
    }
    return pd.DataFrame({**columns, "running": history.groupby("epoch").size()}).reset_index()


def slug(name: str) -> str:
    """Make a name that is safe as a file name.

    >>> slug("my corpus/a")
    'my_corpus_a'
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "_"


def _pooled(group: pd.DataFrame) -> dict[str, float]:
    classes = sorted(set(group["target"]) | set(group["predicted"]))
    return classification(
        class_indices(list(group["target"]), classes), class_indices(list(group["predicted"]), classes)
    )


def _p(value: float | None) -> str:
    if value is None or pd.isna(value):
        return "p undefined"
    return "p < .001" if value < 0.001 else f"p = {value:.3f}"


def _rounded(value: Any) -> Any:
    """Five digits: enough for any comparison, readable in a terminal."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 5) if isinstance(value, float) else value
