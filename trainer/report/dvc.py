"""What DVC shows: about ten numbers. Everything else is in files that DVC does not lay out as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from trainer.report.findings import main_mode, networks
from trainer.report.formatting import main_measures, records
from trainer.store import free_place, slug, write_table

LIMIT, WIDTH = 10, 120  # numbers, and columns of a terminal, that `dvc metrics show` lays out
_VALUE = 7  # letters of -0.1234
_SHORT = {"macro_f1": "f1"}
# from all numbers to the few that several corpora leave room for: (every network, measures, p)
_LEVELS = ((True, 2, True), (True, 1, True), (False, 2, True), (False, 1, True), (False, 1, False))


def metrics_json(table: pd.DataFrame, paired: pd.DataFrame, *, measure: str) -> dict[str, Any]:
    """Choose the numbers of ``dvc metrics show``: as many as a terminal has room for, by name.

    Of one corpus: two measures of every network, and under ``gain`` and ``p`` the difference of pretraining to
    scratch in ``measure`` with the p value of the paired t-test. Of several corpora: a dictionary each. As long as
    there are more than `LIMIT`, or DVC's table is wider than `WIDTH`, they are fewer (`_LEVELS`): one measure, the
    pretrained network alone, no p.
    """
    chosen: dict[str, Any] = {}
    for every_mode, count, p in _LEVELS:
        numbers = {
            str(corpus): _numbers(
                group, paired[paired["corpus"] == corpus], measure, every_mode=every_mode, count=count, p=p
            )
            for corpus, group in networks(table).groupby("corpus", sort=True)
        }
        chosen = next(iter(numbers.values())) if len(numbers) == 1 else numbers
        names = _names(chosen)
        if (
            len(names) <= LIMIT
            and len("reports/metrics.json") + sum(max(len(name), _VALUE) + 4 for name in names) <= WIDTH
        ):
            break
    return chosen


def _numbers(
    rows: pd.DataFrame, tests: pd.DataFrame, measure: str, *, every_mode: bool, count: int, p: bool
) -> dict[str, Any]:
    by_mode = {row["mode"]: row for row in records(rows)}
    main = main_mode(list(by_mode))
    measures = main_measures(by_mode[main], measure)
    values = {
        mode: {_SHORT.get(name, name): round(row[f"{name}_mean"], 4) for name in sorted(measures[:count], reverse=True)}
        for mode, row in by_mode.items()
    }
    numbers: dict[str, Any] = dict(values) if every_mode else dict(values[main])
    for test in records(tests[(tests["mode"] == main) & (tests["measure"] == measures[0])]):
        numbers["gain"] = round(test["mean_difference"], 4)
        if p and pd.notna(test["p_t_test"]):
            numbers["p"] = round(test["p_t_test"], 4)
    return numbers


def _names(numbers: dict[str, Any]) -> list[str]:
    """Return the names under which DVC shows nested numbers."""
    names = []
    for key, value in numbers.items():
        names += [f"{key}.{name}" for name in _names(value)] if isinstance(value, dict) else [key]
    return names


def details_json(table: pd.DataFrame, paired: pd.DataFrame, pretrain: dict[str, Any] | None) -> dict[str, Any]:
    """Every measure as nested numbers: of pretraining, of each corpus and mode, and of each comparison with scratch."""
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
    """Write the numbers behind the pictures: history/*.csv (a row an epoch), confusion/*.csv (actual, predicted)."""
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
    """Five digits: enough for any comparison."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 5) if isinstance(value, float) else value
