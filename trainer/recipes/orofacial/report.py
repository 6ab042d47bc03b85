"""Tables of the recipe ``orofacial``: a row a run, and in Markdown the means, spreads and paired differences."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd

from trainer.objectives.metrics import spread
from trainer.store import replace_file

MEASURES = {"ccc": "CCC", "r": "r", "ccc_opening": "CCC, inner lips up and down", "velocity_error": "velocity error"}
SECONDARY = {"viseme_uar": "viseme UAR", "emotion_uar": "emotion UAR"}
SIDES = {"sentences": "held-out sentences", "speakers": "held-out speakers"}
SINGLE = "movement"


def write_report(runs: pd.DataFrame, reports: Path, *, left_out: Iterable[str] = ()) -> None:
    """Write orofacial.parquet, .csv and .md into ``reports``."""
    replace_file(reports / "orofacial.parquet", lambda path: runs.to_parquet(path, index=False))
    replace_file(reports / "orofacial.csv", lambda path: runs.to_csv(path, index=False))
    words = markdown(runs, left_out=left_out)
    replace_file(reports / "orofacial.md", partial(_write, words=words))


def _write(path: Path, words: str) -> None:
    path.write_text(words, encoding="utf-8")


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
    lines += [f"Left out, as the shards have no labels for it: {task}." for task in left_out]
    for side, title in SIDES.items():
        columns = {key: name for key, name in (MEASURES | SECONDARY).items() if f"{side}_{key}" in runs}
        if not columns:
            continue
        still = runs[f"{side}_still"].mean()
        lines += ["", f"## {title[0].upper()}{title[1:]} (a still face: velocity error {still:.3f})", ""]
        lines += [_row(["structure", "learnt", "parameters", *columns.values()]), _row(["---"] * (3 + len(columns)))]
        for (structure, tasks), group in runs.groupby(["structure", "tasks"], sort=False):
            cells = [_plain(group[f"{side}_{key}"]) for key in columns]
            lines.append(_row([str(structure), str(tasks), f"{group['parameters'].iloc[0]:,}", *cells]))
        lines += _paired(runs, side)
    return "\n".join(lines) + "\n"


def _paired(runs: pd.DataFrame, side: str) -> list[str]:
    """Rows of multitask minus movement alone, seed by seed."""
    others = [tasks for tasks in runs["tasks"].unique() if tasks != SINGLE]
    if not others or SINGLE not in set(runs["tasks"]):
        return []
    lines = ["", "Minus movement alone, same seeds:", "", _row(["structure", "learnt", *MEASURES.values()])]
    lines.append(_row(["---"] * (2 + len(MEASURES))))
    for structure in runs["structure"].unique():
        mine = runs[runs["structure"] == structure].set_index(["tasks", "seed"])
        for tasks in others:
            cells = [
                _plain(mine.loc[tasks][f"{side}_{key}"] - mine.loc[SINGLE][f"{side}_{key}"], sign="+")
                for key in MEASURES
                if f"{side}_{key}" in mine
            ]
            lines.append(_row([str(structure), str(tasks), *cells]))
    return lines


def _plain(values: pd.Series, *, sign: str = "") -> str:
    told = values.dropna().tolist()
    if not told:
        return "-"
    both = spread(told)
    return f"{both['mean']:{sign}.3f}" + (f" +- {both['std']:.3f}" if len(told) > 1 else "")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
