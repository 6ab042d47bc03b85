"""What is drawn on one pair of axes: systems with every run, training curves, answers. Pictures and page share them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from trainer.evaluation.tables import modes_in_order
from trainer.objectives.metrics import Array
from trainer.report.dvc import mean_history
from trainer.report.findings import is_baseline
from trainer.report.formatting import chosen_measure, records, title
from trainer.report.numbers import bounds, mean_spread, number

COLOURS = {
    "scratch": "#8a8f98",
    "pretrained": "#2a7fc4",
    "frozen": "#2ca08c",
    "student": "#b0632a",
    "ensemble": "#7a5aa8",
}
BASELINE = "#b58a3c"
OTHERS = ("#a05fb4", "#d0603a", "#5a8f2d", "#c04a7a")  # networks of recipes

MANY = 2000  # dots, beyond which they are one image in a drawing

Tips = dict[str, str]  # id of something drawn -> what the page says of it when it is pointed at


def colours(modes: list[str]) -> dict[str, str]:
    """Give every mode its colour."""
    others = iter(OTHERS * len(modes))
    return {
        mode: COLOURS.get(mode) or (BASELINE if is_baseline(mode) else next(others))
        for mode in modes_in_order(pd.Series(modes))
    }


def results_panel(axis: Axes, runs: pd.DataFrame, rows: pd.DataFrame, *, measure: str) -> Tips:
    """Draw one corpus: a line a system, a dot a run, a bar for mean ± standard deviation, a dashed line for chance.

    Args:
        axis: where to draw.
        runs: of that corpus, with columns mode, fold, seed and the measure.
        rows: of that corpus in the result table.
        measure: the measure wanted; else the objective's own.
    """
    rows = rows.reset_index(drop=True)
    measure = chosen_measure(records(rows)[0], measure)
    tips: Tips = {}
    colour = colours(list(rows["mode"]))
    lowest, highest = 0.0, 1.0
    for place, row in enumerate(records(rows)):
        mean, deviation, mode = row[f"{measure}_mean"], row[f"{measure}_std"], row["mode"]
        own = runs[runs["mode"] == mode].sort_values(["fold", "seed"], kind="stable").dropna(subset=[measure])
        low, high = float(own[measure].min()), float(own[measure].max())
        lowest, highest = min(lowest, low - 0.05), max(highest, high * 1.05 if high > 1 else 1)
        interval = bounds(row[f"pooled_{measure}_low"], row[f"pooled_{measure}_high"])
        axis.barh(
            place, mean, xerr=deviation, height=0.62, color=colour[mode], alpha=0.3, capsize=4, ecolor=colour[mode],
            error_kw={"elinewidth": 1.6, "alpha": 1}, gid=f"bar{place}",
        )  # fmt: skip
        spread = mean_spread(mean, deviation)
        tips[f"bar{place}"] = f"{mode}: {title(measure)} {spread}; pooled {number(row[f'pooled_{measure}'])} {interval}"
        offsets = np.linspace(-0.2, 0.2, len(own)) if len(own) > 1 else np.zeros(1)
        for step, (offset, run) in enumerate(zip(offsets, records(own), strict=True)):
            dot = f"dot{place}x{step}"
            axis.plot(run[measure], place + offset, "o", markersize=4, color=colour[mode], alpha=0.9, gid=dot)
            tips[dot] = f"{mode}, {run['fold']}, seed {run['seed']}: {title(measure)} {number(run[measure])}"
    names = [f"{row['mode']}   {number(row[f'{measure}_mean'])}" for row in records(rows)]
    axis.set_yticks(range(len(rows)), names)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(lowest, highest)
    chance = rows["chance"].iloc[0]
    axis.axvline(chance, linestyle="--", linewidth=1, color="#777777")
    axis.annotate("chance", (chance, -0.5), xytext=(3, 3), textcoords="offset points", fontsize=8, color="#777777")
    axis.set_xlabel(f"{title(measure)} on held-out speakers")
    axis.spines[["top", "right"]].set_visible(False)
    return tips


def pretraining_panel(axis: Axes, history: pd.DataFrame, *, score: str) -> Tips:
    """Draw the held-out scores of pretraining over the epochs; ``score`` is that of tasks, tracks are correlated."""
    for column in history.columns:
        if column.endswith("_uar"):
            axis.plot(history["epoch"], history[column], label=column[4:-4].replace("_", " "))
    if "dev_dense_r" in history:
        axis.plot(history["epoch"], history["dev_dense_r"], label="dense tracks (r)")
    tasks = any(column.endswith("_uar") for column in history.columns)
    _curves(axis, f"{score if tasks else 'r'}, early-stopping speakers")
    return {}


def training_panel(axis: Axes, history: pd.DataFrame, *, score: str) -> Tips:
    """Draw the score on early-stopping speakers over the epochs, mean of the runs, a line a mode of one corpus.

    Where nobody was held out the loss of training is drawn, dashed.
    """
    colour = colours(list(history["mode"]))
    held_out = history["dev_score"].notna().any()
    for mode in modes_in_order(history["mode"]):
        mean = mean_history(history[history["mode"] == mode])
        if mean["dev_score"].notna().any():
            axis.plot(mean["epoch"], mean["dev_score"], color=colour[mode], label=mode)
        else:
            label = f"{mode}: loss of training"
            axis.plot(mean["epoch"], mean["train_loss"], color=colour[mode], ls="--", label=label)
    _curves(axis, f"{score}, early-stopping speakers" if held_out else "loss of training")
    return {}


def _curves(axis: Axes, what: str) -> None:
    axis.set_xlabel("epoch")
    axis.set_ylabel(what)
    axis.spines[["top", "right"]].set_visible(False)
    if axis.lines:
        axis.legend(fontsize=8, frameon=False)


def matrix_panel(axis: Axes, counts: Array, totals: Array, names: tuple[str, ...]) -> Tips:
    """Draw counts of answers (rows = truth) in per cent of ``totals``, how often each class is true."""
    share = 100 * counts / np.maximum(totals[:, None], 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (i, j), value in np.ndenumerate(share):
        colour = "white" if value > 55 else "black"
        axis.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=9, color=colour)
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=9)
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set_xlabel("predicted")
    axis.set_ylabel("actual")
    return {}


def attributes_panel(axis: Axes, truth: Array, predicted: Array, names: tuple[str, ...]) -> Tips:
    """Draw a dot an utterance, actual against predicted, a colour an attribute."""
    for column, name in enumerate(names):
        axis.scatter(predicted[:, column], truth[:, column], s=8, alpha=0.4, label=name, rasterized=len(truth) > MANY)
    ends = (np.nanmin(truth), np.nanmax(truth))
    axis.plot(ends, ends, color="#777777", linewidth=1, linestyle="--")
    axis.legend(fontsize=8, frameon=False)
    axis.set_xlabel("predicted")
    axis.set_ylabel("actual")
    axis.spines[["top", "right"]].set_visible(False)
    return {}


def text_of(tips: Mapping[str, str]) -> Tips:
    """Return tips without characters that XML does not know."""
    return {key: "".join(c if c.isprintable() else " " for c in text) for key, text in tips.items()}
