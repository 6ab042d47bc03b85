"""From single runs to the table: means, spread, intervals, tests, and what DVC shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.objectives.metrics import spread
from trainer.objectives.base import LOWER_IS_BETTER
from trainer.params import ReportParams
from trainer.evaluation.pooled import Pooled
from trainer.evaluation.significance import paired_test, subset_test

MODE_ORDER = {"scratch": 0, "pretrained": 1, "frozen": 2}
# columns that say under which rules a number was won; constant within a corpus and mode
RULES = (
    "target",
    "objective",
    "label_source",
    "label_rule",
    "n_classes",
    "normalisation",
    "protocol",
    "label_fraction",
    "penalty",
    "clustering",
    "auxiliary",
    "pretrain_tasks",
    "transfer",
    "allow_pretrain_speakers",
)


def modes_in_order(modes: pd.Series[str]) -> list[str]:
    """Return the distinct modes: those of fine-tuning first, others by name."""
    return sorted(set(modes), key=lambda mode: (MODE_ORDER.get(mode, len(MODE_ORDER)), mode))


def pool(runs: pd.DataFrame, predictions: pd.DataFrame, *, params: ReportParams) -> dict[str, Pooled]:
    """Pooled predictions of every corpus."""
    return {
        str(corpus): Pooled.of(
            predictions[predictions["corpus"] == corpus], kind=group["objective"].iloc[0], params=params
        )
        for corpus, group in runs.groupby("corpus", sort=True)
    }


def result_table(runs: pd.DataFrame, pooled: dict[str, Pooled], *, params: ReportParams) -> pd.DataFrame:
    """One row per corpus and mode: rules, mean and standard deviation over folds x seeds, chance, pooled measures.

    ``pooled_*`` are taken over all folds' test predictions together, once a seed, then averaged: what papers report
    who count each utterance once; ``*_low`` and ``*_high`` bound them over resampled speakers.
    """
    rows = []
    for corpus, everything in pooled.items():
        for mode in modes_in_order(runs[runs["corpus"] == corpus]["mode"]):
            group = runs[(runs["corpus"] == corpus) & (runs["mode"] == mode)]
            row: dict[str, Any] = {"corpus": corpus, "mode": mode}
            row |= {name: group[name].iloc[0] for name in (*RULES, "train_rows") if name in group}  # rows: of baselines
            row |= {"folds": group["fold"].nunique(), "seeds": group["seed"].nunique()}
            values, bounds = everything.measures(mode), everything.intervals(mode, params=params)
            for measure in everything.objective.shown:
                row |= {f"{measure}_{name}": value for name, value in spread(group[measure].dropna().tolist()).items()}
                row[f"pooled_{measure}"] = values[measure]
                row[f"pooled_{measure}_low"], row[f"pooled_{measure}_high"] = bounds[measure] or (None, None)
            row["chance"] = float(group["chance"].mean())
            row["pretrain_speakers_in_test"] = int(group["pretrain_speakers_in_test"].sum())
            rows.append(row)
    return pd.DataFrame(rows)


def class_table(pooled: dict[str, Pooled]) -> pd.DataFrame:
    """Recall, precision and F1 of every class over all folds' predictions, mean over seeds; a row a class and mode."""
    parts = [
        everything.per_class(mode).assign(corpus=corpus, mode=mode)
        for corpus, everything in pooled.items()
        for mode in everything.speakers
    ]
    columns = ["corpus", "mode", "class", "n", "recall", "precision", "f1"]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def paired_table(
    runs: pd.DataFrame, pooled: dict[str, Pooled], *, params: ReportParams, against: str = "scratch"
) -> pd.DataFrame:
    """Every other mode against one, scratch: one row per corpus, mode and measure.

    Three answers to "is it luck": the paired test over the same folds and seeds (`paired_test`); the interval of the
    pooled difference over resampled speakers (``difference_low``, ``difference_high``); and the papers' test over
    random subsets of the pooled test set (`subset_test`), which is optimistic.
    """
    rows = []
    for corpus, everything in pooled.items():
        group = runs[runs["corpus"] == corpus]
        modes = modes_in_order(group["mode"])
        for mode in (mode for mode in modes if against in modes and mode != against):
            bounds = everything.intervals(mode, params=params, minus=against)
            for measure in everything.objective.shown:
                pairs = group.pivot_table(index=["fold", "seed"], columns="mode", values=measure)
                pairs = pairs[[mode, against]].dropna()
                if pairs.empty:  # a system that was not run on the same folds and seeds
                    continue
                lower = measure in LOWER_IS_BETTER
                low, high = bounds[measure] or (None, None)
                rows.append(
                    {
                        **{"corpus": corpus, "mode": mode, "measure": measure},
                        **paired_test(pairs[mode], pairs[against], alpha=params.alpha, lower_is_better=lower),
                        **{"difference_low": low, "difference_high": high},
                        **subset_test(
                            everything.subset_scores(mode, measure),
                            everything.subset_scores(against, measure),
                            lower_is_better=lower,
                        ),
                    }
                )
    columns = ["corpus", "mode", "measure"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


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
        mean_history(group).to_csv(folder / "history" / f"finetune_{slug(f'{corpus}_{mode}')}.csv", index=False)
    if "predicted" not in predictions:  # several classes at once, or numbers: no confusion of one with another
        return
    for (corpus, mode), group in predictions.groupby(["corpus", "mode"], sort=True):
        told = group.rename(columns={"target": "actual"})[["actual", "predicted"]].dropna()
        told.to_csv(folder / "confusion" / f"{slug(f'{corpus}_{mode}')}.csv", index=False)


def mean_history(history: pd.DataFrame) -> pd.DataFrame:
    """Average the runs of one mode, a row an epoch; a run that stopped early stays where it stopped.

    Without that the later epochs would average the few runs that went on, and the curve would jump.
    """
    columns = {
        name: history.pivot_table(index="epoch", columns=["fold", "seed"], values=name).ffill().mean(axis=1)
        for name in ("train_loss", "dev_loss", "dev_score")
    }
    return pd.DataFrame({**columns, "running": history.groupby("epoch").size()}).reset_index()


def slug(name: str) -> str:
    """Make a name that is safe as a file name.

    >>> slug("my corpus/a")
    'my_corpus_a'
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "_"


def _rounded(value: Any) -> Any:
    """Five digits: enough for any comparison, readable in a terminal."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 5) if isinstance(value, float) else value
