"""The table of the controls: every arm against scratch and against its own control, and what follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.errors import InputError
from trainer.evaluation.shares import by_share
from trainer.evaluation.tables import comparison_columns, paired_table, pool, result_table, with_conclusions
from trainer.params import ControlsParams, ReportParams
from trainer.recipes.controls.answers import answer, answers, asks_about_faces, sentence
from trainer.report.formatting import (
    PAIR_NOTE,
    brief_comparison,
    chosen_measure,
    interval,
    markdown_table,
    plain,
    records,
    synthetic_banner,
    title,
)
from trainer.report.numbers import bare_p, mean_spread, number, percent
from trainer.store import read_table, write_table, write_text

SCRATCH = "scratch"
LINKS = (
    "face_uar",
    "face_skill",
    "teachers_uar",
)  # how right the teachers are, where the labels that are not used are known


def write_controls(
    runs: pd.DataFrame,
    predictions: pd.DataFrame,
    reports: Path,
    params: ReportParams,
    recipe: ControlsParams,
    *,
    films: list[str],
    of_others: Collection[str],
) -> pd.DataFrame:
    """Write controls.parquet, .csv and .md and controls_runs.parquet; return the table.

    Args:
        runs: rows of ``finetune_runs``, with the arm as mode.
        predictions: of the same runs, likewise.
        reports: folder.
        params: level, interval and resamples.
        recipe: measure, and which arm is whose control.
        films: corpora of the films.
        of_others: arms that are trained on the faces of other segments, utterances or times.
    """
    table = controls_table(runs, predictions, params, recipe, of_others=of_others)
    banner = synthetic_banner({*table["corpus"], *films})
    write_table(reports / "controls_runs.parquet", runs)
    write_table(reports / "controls.parquet", table)
    write_table(reports / "controls.csv", table)
    write_text(reports / "controls.md", "\n".join(markdown(table, params, recipe, banner=banner)))
    return table


def controls_table(
    runs: pd.DataFrame,
    predictions: pd.DataFrame,
    params: ReportParams,
    recipe: ControlsParams,
    *,
    of_others: Collection[str],
) -> pd.DataFrame:
    """One row per corpus, share of the labels and arm, scratch first; with several shares their average comes first.

    The columns of a comparison (see `comparison_columns`) are against scratch; with ``control_`` before them against
    the arm that ``control`` names. The primary arm is a question of its own; the p values of all others are corrected
    (Holm) over the arms of a corpus and share, and over their controls. ``answer`` says what an arm shows: a gain
    counts as the face's only where both comparisons are ``better``.
    """
    parts = [
        _compared(own, answers, params, recipe, of_others).assign(label_fractions=share)
        for share, own, answers in by_share(runs, predictions)
    ]
    return pd.concat(parts, ignore_index=True)


def _compared(
    runs: pd.DataFrame,
    predictions: pd.DataFrame,
    params: ReportParams,
    recipe: ControlsParams,
    of_others: Collection[str],
) -> pd.DataFrame:
    pooled = pool(runs, predictions, params=params)
    against = {
        name: paired_table(runs, pooled, params=params, against=name)
        for name in {SCRATCH, *(arm.control for arm in recipe.arms.values() if arm.control)}
    }
    rows = []
    for result in records(result_table(runs, pooled, params=params)):
        arm, corpus = str(result.pop("mode")), str(result.pop("corpus"))
        measure = chosen_measure(result, recipe.measure)
        control = recipe.arms[arm].control if arm in recipe.arms else ""
        own = runs[(runs["mode"] == arm) & (runs["corpus"] == corpus)]
        test, controlled = (_test(against, name, corpus, arm, measure) for name in (SCRATCH, control))
        compared = comparison_columns(controlled, confidence=params.confidence)
        rows.append(
            {
                **{"corpus": corpus, "arm": arm, "control": control, "measure": measure},
                **comparison_columns(test, confidence=params.confidence),
                **{f"control_{name}": value for name, value in compared.items()},
                **{name: float(own[name].mean()) for name in LINKS if name in own and own[name].notna().any()},
                **result,
            }
        )
    order = {name: number for number, name in enumerate([SCRATCH, *recipe.arms])}
    table = _in_order(pd.DataFrame(rows), order)
    table["family"] = table["corpus"] + np.where(table["arm"] == recipe.primary, ", primary", "")
    table = with_conclusions(table, alpha=params.alpha, within="family")
    other = table.filter(like="control_").rename(columns=lambda name: str(name).removeprefix("control_"))
    other = other.assign(family=table["family"], measure=table["measure"])
    other = with_conclusions(other, alpha=params.alpha, within="family")
    table = table.drop(columns="family").assign(
        primary=table["arm"] == recipe.primary, control_p_holm=other["p_holm"], control_conclusion=other["conclusion"]
    )
    table["others_faces"] = table["arm"].isin(of_others)
    return table.assign(answer=[answer(row, of_others=of_others, alpha=params.alpha) for row in records(table)])


def _in_order(table: pd.DataFrame, order: Mapping[str, int]) -> pd.DataFrame:
    place = table["arm"].map(order)
    return table.assign(_place=place).sort_values(["corpus", "_place"], ignore_index=True).drop(columns="_place")


def _test(
    against: Mapping[str, pd.DataFrame], reference: str, corpus: str, arm: str, measure: str
) -> dict[str, Any] | None:
    if reference not in against or against[reference].empty:
        return None
    table = against[reference]
    rows = records(table[(table["corpus"] == corpus) & (table["mode"] == arm) & (table["measure"] == measure)])
    return rows[0] if rows else None


def markdown(table: pd.DataFrame, params: ReportParams, recipe: ControlsParams, *, banner: str) -> list[str]:
    """Format the table for people: the answer first."""
    asked = asks_about_faces(records(table))
    lines = ["# Is it the face that teaches?" if asked else "# Controls", ""]
    if banner:
        lines += [f"**{plain(banner)}**", ""]
    groups = [records(group) for group in answers(table)]
    lines += [line for rows in groups for line in (sentence(rows), "")]
    for _, group in table.groupby(["corpus", "label_fractions"], sort=False):
        rows = records(group)
        heading = f"## {plain(rows[0]['corpus'])}, {rows[0]['label_fractions']} of the labels"
        lines += [heading, "", *markdown_table(_answer_last([_readable(row) for row in rows])), ""]
    lines += [
        "All arms: the same folds, seeds and labels. Several shares of the labels are averaged pair by pair before "
        "anything is tested, and the average is the answer. Differences with the "
        f"{100 * params.confidence:g} % interval of Student's t over pairs of fold and seed; in brackets, with "
        "folds alone as units, which asks whether other people would give the same. Control: the arm that differs in "
        "one thing: where the face is asked about, the faces of others. Holm: corrected over the arms of a table but "
        "the primary one (*), which was named before the run. Arms whose parents know true labels are ceilings. Face, "
        "teachers: UAR of what teaches, on the training speakers' utterances whose labels were not "
        "used; face_skill: what the labelled share itself says of the face, 0 to 1, by which it is weighed.",
        "",
        PAIR_NOTE,
        "",
    ]
    return lines


def _answer_last(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Give all rows the same columns: the first has fewer, and ``shows`` is to stand at the end."""
    columns = [*dict.fromkeys(name for row in rows for name in row if name != "shows"), "shows"]
    return [{name: row.get(name, "") for name in columns} for row in rows]


def _readable(row: dict[str, Any]) -> dict[str, str]:
    own = row["measure"]
    cells = {
        "arm": row["arm"] + (" *" if row["primary"] else ""),
        title(own): mean_spread(row[f"{own}_mean"], row[f"{own}_std"]),
    }
    if row["arm"] == SCRATCH:
        return cells
    cells |= {
        "minus scratch": number(row["difference"], signed=True) + interval(row, "pairs") + _folds(row),
        "relative": percent(row["relative_gain"]),
        "p": bare_p(row["p"]),
        "Holm": bare_p(row["p_holm"]),
        "pairs": str(int(row["pairs"])),
        "speakers": interval(row, "speakers").strip(),
    }
    if row["control"] and not pd.isna(row["control_difference"]):
        bounds = {f"pairs_{end}": row[f"control_pairs_{end}"] for end in ("low", "high")}
        cells["minus control"] = number(row["control_difference"], signed=True) + interval(bounds, "pairs")
        cells["control Holm"] = bare_p(row["control_p_holm"])
    if not pd.isna(row.get("pretrainings")):
        cells["pretrainings"] = f"{row['pretrainings']:.0f}:" + interval(row, "pretrainings")
        if row["control"]:
            bounds = {f"pretrainings_{end}": row[f"control_pretrainings_{end}"] for end in ("low", "high")}
            cells["pretrainings, control"] = interval(bounds, "pretrainings").strip()
    for name in LINKS:
        if not pd.isna(row.get(name)):
            cells[name.removesuffix("_uar")] = number(row[name])
    return cells | {"shows": row["answer"]}


def _folds(row: Mapping[str, Any]) -> str:
    shown = interval(row, "folds").strip()
    return f" ({shown})" if shown else ""


def read_controls(reports: Path) -> pd.DataFrame:
    """Read the table back; raises InputError if there is none."""
    path = reports / "controls.parquet"
    if not path.is_file():
        raise InputError(f"no finished controls in {reports}: run `python -m trainer controls` first")
    return read_table(path)


def brief(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Format rows for a terminal of 80 columns."""
    return [
        {
            "arm": row["arm"],
            **brief_comparison(row, reference=SCRATCH),
            "control": number(row["control_difference"], signed=True) if row["control"] else "",
            "": {"no difference shown": "", "too few pairs": "few pairs"}.get(row["answer"], row["answer"]),
        }
        for row in rows
    ]
