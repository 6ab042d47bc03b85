"""The ablation's table and picture: every cell against scratch on the same pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.errors import InputError
from trainer.evaluation.tables import comparison_columns, paired_table, pool, result_table, with_conclusions
from trainer.params import AblationParams, ReportParams
from trainer.recipes.ablation import overall as over_shares
from trainer.report import figures
from trainer.report.formatting import (
    PAIR_NOTE,
    brief_comparison,
    chosen_measure,
    interval,
    label,
    markdown_table,
    measures_of,
    paired_cells,
    plain,
    records,
    synthetic_banner,
    target,
    title,
)
from trainer.report.numbers import mean_spread, number
from trainer.store import read_table, replace_file, write_table, write_text

SCRATCH = "scratch"


@dataclass(frozen=True)
class CellRuns:
    """Finished runs of a cell (rows as in ``finetune_runs`` and ``predictions``) and of scratch on the same pairs."""

    part: str
    variant: str
    tasks: str
    mode: str
    label_fraction: float
    unlabelled_fraction: float
    unlabelled_hours: float
    pretrain_corpora: tuple[str, ...]
    runs: pd.DataFrame
    predictions: pd.DataFrame
    scratch_runs: pd.DataFrame
    scratch_predictions: pd.DataFrame
    scratch_identity: str  # equal where the scratch runs are the same


def write_ablation(
    cells: Iterable[CellRuns], reports: Path, params: ReportParams, recipe: AblationParams
) -> pd.DataFrame:
    """Write ablation.parquet, .csv, .md, .png, ablation_overall.csv and ablation_runs.parquet; return the table."""
    cells = list(cells)
    table = ablation_table(cells, params, measure=recipe.measure)
    runs = ablation_runs(cells)
    overall = over_shares.overall(runs, table, params)
    banner = synthetic_banner(set(table["corpus"]) | {name for cell in cells for name in cell.pretrain_corpora})
    write_table(reports / "ablation_runs.parquet", runs)
    write_table(reports / "ablation.parquet", table)
    write_table(reports / "ablation.csv", table)
    write_table(reports / "ablation_overall.csv", overall)
    write_text(reports / "ablation.md", "\n".join(markdown(table, overall, params, banner=banner)))
    replace_file(reports / "ablation.png", lambda path: figures.gain_figure(path, table, note=banner))
    return table


def ablation_table(cells: list[CellRuns], params: ReportParams, *, measure: str) -> pd.DataFrame:
    """One row per cell and corpus, and one per set of scratch runs; rules and measures as in the result table.

    ``difference``, ``difference_std``, ``pairs_low``, ``pairs_high``: of ``measure`` over the pairs of equal fold and
    seed, with Student's interval; ``speakers_low``, ``speakers_high``: of the pooled difference over resampled
    speakers. ``p`` is the paired t-test's, ``p_holm`` corrected over all rows of the same part (ablation or verdict),
    and ``conclusion`` follows from that.
    """
    rows: list[dict[str, Any]] = []
    compared = _compared(cells)
    for cell in cells:
        # scratch runs have one row, next to the first cell that is compared with them
        scratch_of = compared.pop((cell.part, cell.scratch_identity), "")
        rows += _cell_rows(cell, params, measure, scratch_of=scratch_of)
    table = with_conclusions(pd.DataFrame(rows), alpha=params.alpha, within="part")
    table["_scratch"] = table["mode"] != SCRATCH  # scratch first, else as they come
    order = ["part", "corpus", "_scratch"]
    return table.sort_values(order, kind="stable", ignore_index=True).drop(columns="_scratch")


def _compared(cells: list[CellRuns]) -> dict[tuple[str, str], str]:
    """Name the variants that are compared with each set of scratch runs."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        names.setdefault((cell.part, cell.scratch_identity), {})[cell.variant] = None
    return {identity: ", ".join(variants) for identity, variants in names.items()}


def _cell_rows(cell: CellRuns, params: ReportParams, measure: str, *, scratch_of: str) -> list[dict[str, Any]]:
    """Rows of one cell, one a corpus; also those of its scratch runs, if ``scratch_of`` names their variants."""
    runs = pd.concat([cell.scratch_runs, cell.runs], ignore_index=True)
    predictions = pd.concat([cell.scratch_predictions, cell.predictions], ignore_index=True)
    pooled = pool(runs, predictions, params=params)
    paired = paired_table(runs, pooled, params=params)
    rows = []
    for result in records(result_table(runs, pooled, params=params)):
        is_scratch = result["mode"] == SCRATCH
        if is_scratch and not scratch_of:
            continue
        corpora = {str(result["corpus"])} | (set() if is_scratch else set(cell.pretrain_corpora))
        row = {
            "part": cell.part,
            "corpus": result.pop("corpus"),
            "synthetic": bool(synthetic_banner(corpora)),
            "variant": scratch_of if is_scratch else cell.variant,
            "tasks": "none" if is_scratch else cell.tasks,
            "mode": result.pop("mode"),
            "label_fraction": result.pop("label_fraction"),
            "unlabelled_fraction": 0.0 if is_scratch else cell.unlabelled_fraction,
            "unlabelled_hours": 0.0 if is_scratch else cell.unlabelled_hours,
            **result,
            "measure": chosen_measure(result, measure),
        }
        if not is_scratch:
            tests = records(paired[(paired["corpus"] == row["corpus"]) & (paired["mode"] == row["mode"])])
            chosen = next(test for test in tests if test["measure"] == row["measure"])
            row |= {f"{test['measure']}_difference": test["mean_difference"] for test in tests}
            row["scratch_mean"] = row[f"{row['measure']}_mean"] - chosen["mean_difference"]
            row |= comparison_columns(chosen, confidence=params.confidence)
        rows.append(row)
    return rows


def ablation_runs(cells: list[CellRuns]) -> pd.DataFrame:
    """Every training behind the table, scratch runs once a part: rows of ``finetune_runs`` with the cell's columns."""
    parts, compared = [], _compared(cells)
    for cell in cells:
        own = {"part": cell.part, "variant": cell.variant, "tasks": cell.tasks}
        parts.append(cell.runs.assign(**own, unlabelled_fraction=cell.unlabelled_fraction))
        variants = compared.pop((cell.part, cell.scratch_identity), "")
        if variants:
            own = {"part": cell.part, "variant": variants, "tasks": "none"}
            parts.append(cell.scratch_runs.assign(**own, unlabelled_fraction=0.0))
    first = ["part", "variant", "tasks", "unlabelled_fraction"]
    everything = pd.concat(parts, ignore_index=True)
    return everything[[*first, *(name for name in everything.columns if name not in first)]]


def markdown(table: pd.DataFrame, overall: pd.DataFrame, params: ReportParams, *, banner: str) -> list[str]:
    """Format the table for people: rules of each corpus, then its rows, the ablation's and the verdict's apart."""
    lines = ["# Does the face teach the voice?", ""]
    if banner:
        lines += [f"**{plain(banner)}**", ""]
    headings = {"verdict": "Verdict: fresh seeds and label draws", "ablation": "Ablation"}
    for part in (part for part in headings if part in set(table["part"])):
        lines += [f"## {headings[part]}", ""]
        for corpus, group in table[table["part"] == part].groupby("corpus", sort=True):
            rows = records(group)
            synthetic = " (synthetic)" if rows[0]["synthetic"] else ""
            lines += [f"### {plain(corpus)}{synthetic}", "", plain(_rules(rows)), ""]
            lines += [*markdown_table([_readable(row) for row in rows]), ""]
        means = [over_shares.readable(row) for row in records(overall[overall["part"] == part])]
        if means:
            lines += ["### Over all shares of the labels", "", *markdown_table(means), ""]
    lines += [
        "Difference: cell minus scratch on the same folds, seeds and labels, with the "
        f"{100 * params.confidence:g} % interval of Student's t over the pairs. Speakers: the same interval for "
        "the pooled difference, over resampled speakers. Folds: Student's interval with the mean of each fold as one "
        "value; fresh seeds bring new label draws and first weights, no new people. "
        "Relative: per cent of scratch. p: paired t-test, two-sided; "
        f"Holm: corrected over all comparisons of the same heading ({table['p'].notna().sum()} in the table). Over all "
        "shares: the difference of a fold and seed is averaged over the shares first, and corrected over its own "
        "table. Mean ± standard deviation over folds x seeds.",
        "",
        PAIR_NOTE,
        "",
    ]
    return lines


def _rules(rows: list[dict[str, Any]]) -> str:
    row = rows[0]
    normalised = dict.fromkeys(str(each["normalisation"]) for each in rows)
    transfers = dict.fromkeys(str(each["transfer"]) for each in rows if pd.notna(each["transfer"]))
    pieces = [
        f"{target(row)}; label {label(row)}; normalisation {' / '.join(normalised)}",
        f"{row['protocol']}, {row['folds']} x {row['seeds']} seeds; chance {number(row['chance'])}",
        f"transfer {' / '.join(transfers)}",
    ]
    if row["allow_pretrain_speakers"]:
        most = max(each["pretrain_speakers_in_test"] for each in rows)
        pieces.append(f"PRETRAINING SPEAKERS ALLOWED IN TEST FOLDS; {most} THERE")
    return "; ".join(pieces) + "."


def _readable(row: dict[str, Any]) -> dict[str, str]:
    cells = {
        "variant": row["variant"],
        "tasks": row["tasks"],
        "mode": row["mode"],
        "labels": f"{100 * row['label_fraction']:g} %",
        "unlabelled": f"{100 * row['unlabelled_fraction']:g} % ({row['unlabelled_hours']:.2f} h)",
    }
    shown = [name for name in measures_of(row) if name in {"macro_f1", "uar", row["measure"]}]
    cells |= {title(name): mean_spread(row[f"{name}_mean"], row[f"{name}_std"]) for name in shown}
    if row["mode"] == SCRATCH:
        return {**cells, "unlabelled": "none"}
    return cells | {
        f"{title(row['measure'])} difference": number(row["difference"], signed=True) + interval(row, "pairs"),
        "speakers": interval(row, "speakers").strip(),
        **paired_cells(row),
    }


def read_ablation(reports: Path) -> pd.DataFrame:
    """Read the table back; raises InputError if there is none of this version."""
    path = reports / "ablation.parquet"
    if not path.is_file():
        raise InputError(f"no finished ablation in {reports}: run `python -m trainer ablation` first")
    table = read_table(path)
    if "variant" not in table:
        raise InputError(f"{path} is of an older version: run `python -m trainer ablation` again")
    return table


def brief(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Format rows for a terminal of 80 columns."""
    short = {"no difference shown": "", "too few pairs": "few pairs"}
    result = []
    for row in rows:
        scratch = row["mode"] == SCRATCH
        result.append(
            {
                "variant": row["variant"] if scratch else f"{row['variant']} {row['tasks']}",
                "mode": row["mode"],
                "labels": f"{100 * row['label_fraction']:g} %",
                "speech": "" if scratch else f"{100 * row['unlabelled_fraction']:g} %",
                **brief_comparison(row, reference=SCRATCH),
                "": short.get(row["conclusion"], row["conclusion"]),
            }
        )
    return result
