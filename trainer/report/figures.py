"""The pictures: bars with every single run on them, confusion matrices, training curves."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

mpl.use("Agg")  # no display on a training machine
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from trainer.evaluation.tables import modes_in_order
from trainer.report.answers import Answers
from trainer.report.formatting import records, title
from trainer.report.panels import Tips, attributes_panel, matrix_panel, pretraining_panel, results_panel, training_panel

mpl.rcParams["text.parse_math"] = False  # names of corpora may hold dollar signs
WARNING = "#b00020"


def results_figure(path: Path, runs: pd.DataFrame, table: pd.DataFrame, *, measure: str, note: str) -> None:
    """Draw every corpus as `results_panel` does, side by side."""
    corpora = list(dict.fromkeys(table["corpus"]))
    bars = int(table.groupby("corpus").size().max())
    size = (0.6 + 5.6 * len(corpora), 1.5 + 0.5 * bars)
    figure, axes = plt.subplots(1, len(corpora), figsize=size, squeeze=False, layout="constrained")
    for axis, corpus in zip(axes[0], corpora, strict=True):
        rows = table[table["corpus"] == corpus]
        results_panel(axis, runs[runs["corpus"] == corpus], rows, measure=measure)
        axis.set_title(f"{corpus}\n{rows['folds'].iloc[0]} folds x {rows['seeds'].iloc[0]} seeds", fontsize=10, pad=14)
    _save(figure, path, note)


def answers_figure(path: Path, found: list[Answers], *, note: str) -> None:
    """Answers against the truth, a panel a corpus (row) and mode.

    One class: the confusion matrix, rows = truth, in per cent of the row. Several classes at once: how often each class
    is predicted where another is true. Attributes: a dot an utterance.
    """
    corpora = list(dict.fromkeys(each.corpus for each in found))
    modes = modes_in_order(pd.Series([each.mode for each in found]))
    by_place = {(each.corpus, each.mode): each for each in found}
    size = (4.6 * len(modes), 4.4 * len(corpora))
    figure, axes = plt.subplots(len(corpora), len(modes), figsize=size, squeeze=False, layout="constrained")
    for place, axis in np.ndenumerate(axes):
        each = by_place.get((corpora[place[0]], modes[place[1]]))
        if each is None:
            axis.axis("off")
        else:
            draw_answers(axis, each)
            share = ": % of each true class" if each.counts is not None else ""
            axis.set_title(f"{each.corpus}, {each.mode}{share}", fontsize=10)
    _save(figure, path, note)


def draw_answers(axis: Axes, each: Answers) -> Tips:
    """Draw the answers of one corpus and mode: a matrix of classes, or dots of attributes."""
    if each.counts is not None and each.totals is not None:
        return matrix_panel(axis, each.counts, each.totals, each.names)
    assert each.truth is not None
    assert each.predicted is not None
    return attributes_panel(axis, each.truth, each.predicted, each.names)


def training_figure(path: Path, history: pd.DataFrame, pretrain: pd.DataFrame | None, *, score: str, note: str) -> None:
    """Score on held-out speakers over the epochs: pretraining per task, fine-tuning per mode (mean of the runs)."""
    corpora = sorted(set(history["corpus"]))
    panels = len(corpora) + (pretrain is not None)
    figure, axes = plt.subplots(1, panels, figsize=(1 + 3.8 * panels, 3.4), squeeze=False, layout="constrained")
    remaining = list(axes[0])
    if pretrain is not None:
        axis = remaining.pop(0)
        pretraining_panel(axis, pretrain, score=score)
        axis.set_title("pretraining", fontsize=10)
    for axis, corpus in zip(remaining, corpora, strict=True):
        training_panel(axis, history[history["corpus"] == corpus], score=score)
        axis.set_title(f"fine-tuning on {corpus}", fontsize=10)
    _save(figure, path, note)


def gain_figure(path: Path, table: pd.DataFrame, *, note: str) -> None:
    """Gain over scratch against the share of labels: a panel a corpus and mode, a line a variant, task set and amount.

    ``table``: of `trainer.recipes.ablation.report`. Bars are the interval over pairs. Dashed: less unlabelled speech.
    Diamonds: the verdict's fresh seeds, in the colour of the same variant.
    """
    table = table[table["mode"] != "scratch"]
    corpora, modes = sorted(set(table["corpus"])), modes_in_order(table["mode"])
    names = ["variant", "tasks", "unlabelled_fraction"]
    lines = sorted(set(table[table["part"] == "ablation"][names].itertuples(index=False, name=None)))
    verdicts = list(dict.fromkeys(table[table["part"] == "verdict"]["variant"]))
    figure, axes = plt.subplots(
        len(corpora),
        len(modes),
        figsize=(1.5 + 5.2 * len(modes), 0.8 + 3.8 * len(corpora)),
        squeeze=False,
        layout="constrained",
    )
    ticks = sorted(set(table["label_fraction"]))
    colours = plt.get_cmap("tab10")
    kinds = list(dict.fromkeys((variant, tasks) for variant, tasks, _ in lines))
    for i, j in np.ndindex(len(corpora), len(modes)):
        axis = axes[i][j]
        panel = table[(table["corpus"] == corpora[i]) & (table["mode"] == modes[j])]
        for number, (variant, tasks, share) in enumerate(lines):
            chosen = (panel["part"] == "ablation") & (panel["variant"] == variant)
            chosen &= (panel["tasks"] == tasks) & (panel["unlabelled_fraction"] == share)
            offset = 0.6 * ((number + 0.5) / len(lines) - 0.5) - (0.1 if verdicts else 0.0)
            less = "" if share == max(line[2] for line in lines) else f", {100 * share:g} % of the speech"
            _gain(
                axis,
                panel[chosen],
                [ticks.index(value) + offset for value in panel[chosen]["label_fraction"]],
                color=colours(kinds.index((variant, tasks)) % 10),
                linestyle="--" if less else "-",
                marker="o",
                alpha=0.6 if less else 1.0,
                label=f"{variant} {tasks}{less}",
            )
        for number, variant in enumerate(verdicts):
            rows = panel[(panel["part"] == "verdict") & (panel["variant"] == variant)]
            first = 0.26 if lines else -0.04 * len(verdicts)
            places = [ticks.index(value) + first + 0.08 * number for value in rows["label_fraction"]]
            kind = next(((variant, tasks) for tasks in rows["tasks"] if (variant, tasks) in kinds), None)
            colour = colours(kinds.index(kind) % 10) if kind else "black"
            style = {"color": colour, "marker": "D", "markeredgecolor": "black", "linestyle": ":"}
            _gain(axis, rows, places, **style, label=f"verdict: {variant}")
        axis.axhline(0, color="black", linewidth=1)
        for border in range(1, len(ticks)):
            axis.axvline(border - 0.5, color="lightgrey", linewidth=0.8)
        axis.set_xlim(-0.5, len(ticks) - 0.5)
        axis.set_xticks(range(len(ticks)), [f"{100 * value:g} %" for value in ticks])
        axis.set_xlabel("share of the training labels")
        axis.set_title(f"{corpora[i]}, {modes[j]}", fontsize=10)
        if not panel.empty:
            axis.set_ylabel(f"{title(panel['measure'].iloc[0])}, difference to scratch")
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        handles |= {name: handle for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3, fontsize=8)
    _save(figure, path, note)


def length_figure(path: Path, table: pd.DataFrame, shares: tuple[float, ...], *, note: str) -> None:
    """Accuracy against the share of every test utterance that is used: a panel a corpus, a line a system.

    ``table``: of `trainer.recipes.comparison.report`; dashed: one window instead of dynamic chunks; dotted: chance.
    """
    table = table[table["parameters"].notna()]
    corpora, systems = sorted(set(table["corpus"])), list(dict.fromkeys(table["system"]))
    size = (1.5 + 5.0 * len(corpora), 5.2)
    figure, axes = plt.subplots(1, len(corpora), figsize=size, squeeze=False, layout="constrained")
    colours = plt.get_cmap("tab10")
    places = [100 * share for share in shares]
    for axis, corpus in zip(axes[0], corpora, strict=True):
        for row in records(table[table["corpus"] == corpus]):
            axis.plot(
                places,
                [row[f"at_{place:g}"] for place in places],
                color=colours(systems.index(row["system"]) % 10),
                linestyle="-" if row["length"] == "dynamic" else "--",
                marker="o" if row["length"] == "dynamic" else "s",
                label=row["system"],
            )
        axis.axhline(row["chance"], color="black", linestyle=":", linewidth=1)
        axis.set_xticks(places, [f"{place:g} %" for place in places])
        axis.set_xlabel("share of every test utterance")
        axis.set_ylabel(title(row["measure"]))
        axis.set_title(corpus, fontsize=10)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8)
    _save(figure, path, note)


def _gain(axis: plt.Axes, rows: pd.DataFrame, places: list[float], **style: Any) -> None:
    if rows.empty:
        return
    middle = rows["difference"].to_numpy(float)
    reach = np.stack([middle - rows["pairs_low"].to_numpy(float), rows["pairs_high"].to_numpy(float) - middle])
    axis.errorbar(places, middle, yerr=np.nan_to_num(reach), capsize=2, markersize=4, linewidth=1.2, **style)


def _save(figure: plt.Figure, path: Path, note: str) -> None:
    if note:
        room = int(figure.get_figwidth() * 11)  # characters of this size that fit
        figure.suptitle(textwrap.fill(note, room), color=WARNING, fontweight="bold", fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)
