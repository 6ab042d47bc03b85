"""What DVC shows: metrics and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from trainer.store import free_place, slug, write_table


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
        names = [str(name)[: -len("_mean")] for name in row if str(name).endswith("_mean") and pd.notna(row[name])]
        values = {measure: {"mean": row[f"{measure}_mean"], "std": row[f"{measure}_std"]} for measure in names}
        finetuned.setdefault(row["corpus"], {})[row["mode"]] = {**values, "chance": row["chance"]}
    for row in paired.to_dict("records"):
        name = f"{row['mode']}_minus_scratch"
        keys = ("mean_difference", "std_difference", "relative_gain", "cohens_dz", "p_t_test", "p_wilcoxon", "n")
        finetuned[row["corpus"]].setdefault(name, {})[row["measure"]] = {
            key: None if pd.isna(row[key]) else row[key] for key in keys
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
        write_table(free_place(folder / "history" / f"finetune_{slug(f'{corpus}_{mode}')}.csv"), mean_history(group))
    if "predicted" not in predictions:  # several classes at once, or numbers: no confusion of one with another
        return
    for (corpus, mode), group in predictions.groupby(["corpus", "mode"], sort=True):
        answers = group.rename(columns={"target": "actual"})[["actual", "predicted"]].dropna()
        write_table(free_place(folder / "confusion" / f"{slug(f'{corpus}_{mode}')}.csv"), answers)


def mean_history(history: pd.DataFrame) -> pd.DataFrame:
    """Average the runs of one mode, a row an epoch; a run that stopped early stays where it stopped.

    Without that the later epochs would average the few runs that went on, and the curve would jump.
    """
    columns = {
        name: history.pivot_table(index="epoch", columns=["fold", "seed"], values=name).ffill().mean(axis=1)
        for name in ("train_loss", "dev_loss", "dev_score")
    }
    return pd.DataFrame({**columns, "running": history.groupby("epoch").size()}).reset_index()


def _rounded(value: Any) -> Any:
    """Five digits: enough for any comparison, readable in a terminal."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 5) if isinstance(value, float) else value
