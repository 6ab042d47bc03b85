"""How many labels stay the same when the film is degraded, or the threshold moves a little.

Two readings of "the same". *Fixed*: thresholds and scales stay those of the films as they are, as when one corpus
mixes good and bad films. *Refitted*: they are fitted on the degraded films, as when a whole corpus is like that;
this is what the choice of a frame rate needs, for a shift of all values alike does no harm there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.checks.worse_films import Degradation, measure_degraded
from pipeline.engine.places import usable_segments
from pipeline.errors import InputError
from pipeline.faces.extractor import FacesExtractor
from pipeline.labels import labelling
from pipeline.labels.config import LabelsConfig
from pipeline.params import Params

TASKS = ("t1", "t2", "t3")
SHIFT = 0.05  # share by which thresholds move
RATES = (30.0, 15.0, 10.0, 7.5)  # Hz
ENCODINGS = (Degradation("crf 32", crf=32), Degradation("half size, crf 32", crf=32, shrink=2))


def run_sensitivity(params: Params, *, wanted: int, skip: int = 0, output: Path) -> pd.DataFrame:
    """Measure how stable the labels of a sample are; write a table (CSV) and a plot of it.

    Args:
        params: the configured pipeline; its segments table must exist.
        wanted: about how many segments of each corpus; clips are taken whole.
        skip: segments left out first, in the same order: other clips than those of another run.
        output: CSV to write; the plot gets the suffix ``.png``.

    Returns:
        One row a change, corpus (and ``all``), task and reading: see `compare`.
    """
    segments = sample(list(usable_segments("unlabelled")), wanted=wanted, skip=skip)
    if not segments:
        raise InputError("no segment with a film is left to check: lower --skip, or run the segments stage")
    table = study(params, segments)
    output.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(output, index=False, float_format="%.4g")
    _plot(table, output.with_suffix(".png"))
    return table


def sample(segments: list[dict[str, Any]], *, wanted: int, skip: int = 0) -> list[dict[str, Any]]:
    """Return about ``wanted`` segments a corpus: whole clips, in an order that is random but always the same.

    >>> rows = [{"corpus": "c", "clip_id": name, "has_video": True} for name in "abcabd"]
    >>> one, rest = sample(rows, wanted=3), sample(rows, wanted=99, skip=3)
    >>> len(one) + len(rest), {row["clip_id"] for row in one} & {row["clip_id"] for row in rest}
    (6, set())
    """
    chosen: set[tuple[str, str]] = set()
    films = [row for row in segments if row["has_video"]]
    for corpus in sorted({row["corpus"] for row in films}):
        sizes = Counter(row["clip_id"] for row in films if row["corpus"] == corpus)
        passed = 0
        for clip in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
            if skip <= passed < skip + wanted:
                chosen.add((corpus, clip))
            passed += sizes[clip]
    return [row for row in films if (row["corpus"], row["clip_id"]) in chosen]


def study(params: Params, segments: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the table of `run_sensitivity` for these segments."""
    faces = FacesExtractor(params.faces).metadata()
    about = {"units": faces["aus"], "trust": faces["au_reliability"]}
    # A sample of a corpus has its own train rows: all of it, so that no corpus of few clips is without.
    segments = [{**row, "split": "train"} for row in segments]
    config = params.labels
    plain = measure_degraded(params, segments, Degradation("as configured"))
    fitted = labelling.fit(plain, config, **about)
    before = labelling.label(plain, fitted, config)
    found = []
    for name, moved, settings in shifted(fitted, config):
        found.append(compare(before, labelling.label(plain, moved, settings), change=name, reading="fixed"))
    rates = [Degradation(f"{rate:g} Hz", max_fps=rate) for rate in RATES if rate != params.faces.max_fps]
    for degradation in (*rates, *ENCODINGS):
        degraded = measure_degraded(params, segments, degradation)
        refitted = labelling.fit(degraded, config, **about)
        for reading, thresholds in (("fixed", fitted), ("refitted", refitted)):
            after = labelling.label(degraded, thresholds, config)
            found.append(compare(before, after, change=degradation.name, reading=reading))
    return pd.concat(found, ignore_index=True)


def shifted(fitted: Mapping[str, Any], config: LabelsConfig) -> list[tuple[str, dict[str, Any], LabelsConfig]]:
    """Return the thresholds moved down and up by ``SHIFT`` of their value: (name, fitted, config)."""
    moved = []
    for factor in (1 - SHIFT, 1 + SHIFT):
        limits = {
            task: {group: [value * factor for value in values] for group, values in fitted[task].items()}
            for task in ("t1", "t2")
        }
        task3 = config.au_emotion.model_copy(update={"floor": config.au_emotion.floor * factor})
        name = f"threshold {factor - 1:+.0%}"
        moved.append((name, {**fitted, **limits}, config.model_copy(update={"au_emotion": task3})))
    return moved


def compare(before: pd.DataFrame, after: pd.DataFrame, *, change: str, reading: str) -> pd.DataFrame:
    """Return what became of the labels, a row a corpus (and ``all``) and task.

    ``segments``: all; ``before``: with a label before; ``kept``: the same label after; ``changed``: another one;
    ``lost``: none after; ``gained``: one after where there was none; ``kept_share``: kept / (kept + changed);
    ``rank_r``: Spearman's rho of the statistic (T3: mean over emotions) and ``ratio``: median of after / before
    (T1, T2).
    """
    rows = []
    for corpus, part in [("all", before), *before.groupby("corpus")]:
        other = after.loc[part.index]
        for task in TASKS:
            old, new = part[f"{task}_label"], other[f"{task}_label"]
            both = old.notna() & new.notna()
            kept = int((old[both] == new[both]).sum())
            row = {"change": change, "thresholds": reading, "corpus": corpus, "task": task, "segments": len(part)}
            row |= {"before": int(old.notna().sum()), "kept": kept, "changed": int(both.sum()) - kept}
            row |= {"lost": int((old.notna() & new.isna()).sum()), "gained": int((old.isna() & new.notna()).sum())}
            row["kept_share"] = kept / both.sum() if both.any() else np.nan
            rows.append(row | _statistics(part, other, task))
    return pd.DataFrame(rows)


def _statistics(before: pd.DataFrame, after: pd.DataFrame, task: str) -> dict[str, float]:
    columns = [f"{task}_stat"] if task != "t3" else [
        name for name in before.columns if name.startswith("t3_") and before[name].dtype.kind == "f"
        and name != "t3_confidence"
    ]  # fmt: skip
    rho = [before[name].corr(after[name], method="spearman") for name in columns]
    both = {"rank_r": float(np.nanmean(rho)) if np.isfinite(rho).any() else np.nan}
    ratio = after[columns[0]] / before[columns[0]] if task != "t3" else pd.Series(dtype=float)
    return both | {"ratio": float(ratio.median()) if ratio.notna().any() else np.nan}


def print_sensitivity(table: pd.DataFrame) -> None:
    """Print what `run_sensitivity` returns: the share of labels kept, a row a change, a column a task and corpus."""
    from rich.console import Console
    from rich.table import Table

    corpora = ["all", *sorted(set(table["corpus"]) - {"all"})]
    for corpus in corpora if len(corpora) > 2 else ["all"]:
        rows = table[table["corpus"] == corpus]
        size = rows["segments"].iloc[0]
        found = Table(title=f"{corpus}: {size} segments; labels kept (with a label before, lost)", title_justify="left")
        for column in ("change", "thresholds", "T1", "T2", "T3"):
            found.add_column(column, justify="left" if column in ("change", "thresholds") else "right")
        for (change, reading), part in rows.groupby(["change", "thresholds"], sort=False):
            cells = [
                f"{row.kept_share:.1%} ({row.before}, {row.lost})" for row in part.itertuples() if row.task in TASKS
            ]
            found.add_row(str(change), str(reading), *cells)
        Console(width=None if Console().is_terminal else 110).print(found)


def _plot(table: pd.DataFrame, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    whole = table[table["corpus"] == "all"]
    changes = list(whole["change"].unique())
    figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
    place = np.arange(len(changes))
    names = {"t1": "T1 energy variation", "t2": "T2 facial activation", "t3": "T3 emotion"}
    for number, (task, name) in enumerate(names.items()):
        for reading, marker in (("fixed", "x"), ("refitted", "o")):
            rows = whole[(whole["task"] == task) & (whole["thresholds"] == reading)].set_index("change")
            share = rows["kept_share"].reindex(changes)
            axis.scatter(place + (number - 1) * 0.18, share, marker=marker, c=f"C{number}", s=30,
                         label=f"{name}, {reading}")  # fmt: skip
    axis.set_xticks(place, changes, rotation=20, ha="right")
    axis.set_ylabel("labels kept, share")
    axis.set_ylim(None, 1.01)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=7, loc="lower left")
    figure.savefig(path, dpi=110)
    plt.close(figure)
