"""Tables of the recipe ``orofacial``: a row a run, and in Markdown the means, spreads and paired differences."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from trainer.objectives.metrics import spread
from trainer.report.formatting import markdown_table
from trainer.report.numbers import number
from trainer.store import write_table, write_text

MEASURES = {"ccc": "CCC", "r": "r", "ccc_opening": "CCC, inner lips up and down", "velocity_error": "velocity error"}
SECONDARY = {"viseme_uar": "viseme UAR", "emotion_uar": "emotion UAR"}
SIDES = {"sentences": "held-out sentences", "speakers": "held-out speakers"}
SINGLE = "movement"
_SOURCES = {"emotion": "the manifest's labels", "t3_label": "pseudo-labels (T3)"}


def write_report(runs: pd.DataFrame, reports: Path, *, left_out: Iterable[str] = ()) -> None:
    """Write orofacial.parquet, .csv and .md into ``reports``."""
    write_table(reports / "orofacial.parquet", runs)
    write_table(reports / "orofacial.csv", runs)
    write_text(reports / "orofacial.md", markdown(runs, left_out=left_out))


def markdown(runs: pd.DataFrame, *, left_out: Iterable[str] = ()) -> str:
    """Return both tables as text; mean +- standard deviation over seeds throughout."""
    first = runs.iloc[0]
    lines = [
        "# Mouth movement from speech",
        "",
        f"Seeds: {runs['seed'].nunique()}, each with held-out sentences of its own; mean +- standard deviation over "
        f"them. {first['n_train']} segments to learn from, {first['n_dev']} to stop on, {first['n_sentences']} "
        f"held-out sentences, {first['n_speakers']} segments of held-out speakers. Loss of movement: {first['loss']}. "
        "Velocity error in inter-ocular distances a second.",
    ]
    shared = {side: runs.get(f"{side}_shared", pd.Series([0])).max() for side in SIDES}
    lines += [
        f"Held out whole: {first.get('held_out', 'clips')}. Test segments whose sentence somebody says in training: "
        f"{shared['sentences']:.0f} of the held-out sentences, {shared['speakers']:.0f} of the held-out speakers'."
    ]
    sources = sorted(set(runs["emotion_source"].dropna())) if "emotion_source" in runs else []
    lines += [f"Emotion: {', '.join(_SOURCES[name] for name in sources)}."] if sources else []
    lines += [f"Left out, as the shards have no labels for it: {task}." for task in left_out]
    for side, title in SIDES.items():
        columns = {key: name for key, name in (MEASURES | SECONDARY).items() if f"{side}_{key}" in runs}
        if not columns:
            continue
        still = runs[f"{side}_still"].mean()
        lines += ["", f"## {title[0].upper()}{title[1:]} (a still face: velocity error {number(still)})", ""]
        rows = []
        for (structure, tasks), group in runs.groupby(["structure", "tasks"], sort=False):
            row = {"structure": structure, "learnt": tasks, "parameters": f"{group['parameters'].iloc[0]:,}"}
            rows.append(row | {name: _plain(group[f"{side}_{key}"]) for key, name in columns.items()})
        lines += [*markdown_table(rows), *_paired(runs, side)]
    return "\n".join(lines) + "\n"


def _paired(runs: pd.DataFrame, side: str) -> list[str]:
    """Rows of multitask minus movement alone, seed by seed."""
    multitask = [tasks for tasks in runs["tasks"].unique() if tasks != SINGLE]
    if not multitask or SINGLE not in set(runs["tasks"]):
        return []
    rows = []
    for structure in runs["structure"].unique():
        own = runs[runs["structure"] == structure].set_index(["tasks", "seed"])
        for tasks in multitask:
            differences = {
                name: _plain(own.loc[tasks][f"{side}_{key}"] - own.loc[SINGLE][f"{side}_{key}"], signed=True)
                for key, name in MEASURES.items()
                if f"{side}_{key}" in own
            }
            rows.append({"structure": structure, "learnt": tasks, **differences})
    return ["", "Minus movement alone, same seeds:", "", *markdown_table(rows)]


def _plain(values: pd.Series, *, signed: bool = False) -> str:
    known = values.dropna().tolist()
    if not known:
        return "-"
    both = spread(known)
    return number(both["mean"], signed=signed) + (f" +- {number(both['std'])}" if len(known) > 1 else "")
