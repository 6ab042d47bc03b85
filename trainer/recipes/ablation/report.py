"""The ablation's table and picture: every cell against scratch on the same pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.errors import InputError
from trainer.evaluation.significance import holm, mean_interval
from trainer.evaluation.tables import paired_table, pool, result_table
from trainer.objectives.base import title
from trainer.params import Params, ReportParams
from trainer.recipes.ablation import overall as ablation_overall
from trainer.recipes.ablation.overall import overall
from trainer.report import figures
from trainer.report.formatting import (
    PAIR_NOTE,
    chosen_measure,
    conclusion,
    interval,
    label,
    markdown_table,
    measures_of,
    paired_cells,
    records,
    synthetic_banner,
    target,
)
from trainer.store import replace_file

SCRATCH = "scratch"


@dataclass(frozen=True)
class CellRuns:
    """Finished runs of a cell (rows as in ``finetune_runs`` and ``predictions``) and of scratch on the same pairs."""

    part: str
    recipe: str
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
    scratch_identity: str  # equal where the scratch runs are the same ones


def write_ablation(cells: Iterable[CellRuns], reports: Path, params: Params) -> pd.DataFrame:
    """Write ablation.parquet, .csv, .md, .png, ablation_overall.csv and ablation_runs.parquet; return the table."""
    cells = list(cells)
    table = ablation_table(cells, params)
    runs = ablation_runs(cells)
    over = overall(runs, table, params.report)
    banner = synthetic_banner(set(table["corpus"]) | {name for cell in cells for name in cell.pretrain_corpora})
    text = "\n".join(markdown(table, over, params, banner=banner))
    replace_file(reports / "ablation_runs.parquet", lambda path: runs.to_parquet(path, index=False))
    replace_file(reports / "ablation.parquet", lambda path: table.to_parquet(path, index=False))
    replace_file(reports / "ablation.csv", lambda path: table.to_csv(path, index=False))
    replace_file(reports / "ablation_overall.csv", lambda path: over.to_csv(path, index=False))
    replace_file(reports / "ablation.md", lambda path: _write(path, text))
    replace_file(reports / "ablation.png", lambda path: figures.gain_figure(path, table, note=banner))
    return table


def ablation_table(cells: list[CellRuns], params: Params) -> pd.DataFrame:
    """One row per cell and corpus, and one per set of scratch runs; rules and measures as in the result table.

    ``difference``, ``difference_std``, ``pairs_low``, ``pairs_high``: of ``measure`` over the pairs of equal fold and
    seed, with Student's interval; ``speakers_low``, ``speakers_high``: of the pooled difference over resampled
    speakers. ``p`` is the paired t-test's, ``p_holm`` corrected over all rows of the same part (ablation or verdict),
    and ``conclusion`` follows from that.
    """
    rows: list[dict[str, Any]] = []
    served = _served(cells)
    for cell in cells:
        # scratch runs have one row, beside the first cell that they serve
        rows += _cell_rows(cell, params, scratch_of=served.pop((cell.part, cell.scratch_identity), ""))
    table = pd.DataFrame(rows)
    if "p" in table:
        table["p_holm"] = table.groupby("part")["p"].transform(lambda p: holm(p.astype(float)))
        table["conclusion"] = [conclusion(row, alpha=params.report.alpha) for row in records(table)]
    table["_scratch"] = table["mode"] != SCRATCH  # scratch first, else as they come
    order = ["part", "corpus", "_scratch"]
    return table.sort_values(order, kind="stable", ignore_index=True).drop(columns="_scratch")


def _served(cells: list[CellRuns]) -> dict[tuple[str, str], str]:
    """Name the recipes that each set of scratch runs is compared with."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        names.setdefault((cell.part, cell.scratch_identity), {})[cell.recipe] = None
    return {identity: ", ".join(recipes) for identity, recipes in names.items()}


def _cell_rows(cell: CellRuns, params: Params, *, scratch_of: str) -> list[dict[str, Any]]:
    """Rows of one cell, one a corpus; with those of its scratch runs if ``scratch_of`` names whom they serve."""
    runs = pd.concat([cell.scratch_runs, cell.runs], ignore_index=True)
    predictions = pd.concat([cell.scratch_predictions, cell.predictions], ignore_index=True)
    pooled = pool(runs, predictions, params=params.report)
    paired = paired_table(runs, pooled, params=params.report)
    rows = []
    for result in records(result_table(runs, pooled, params=params.report)):
        is_scratch = result["mode"] == SCRATCH
        if is_scratch and not scratch_of:
            continue
        corpora = {str(result["corpus"])} | (set() if is_scratch else set(cell.pretrain_corpora))
        row = {
            "part": cell.part,
            "corpus": result.pop("corpus"),
            "synthetic": bool(synthetic_banner(corpora)),
            "recipe": scratch_of if is_scratch else cell.recipe,
            "tasks": "none" if is_scratch else cell.tasks,
            "mode": result.pop("mode"),
            "label_fraction": result.pop("label_fraction"),
            "unlabelled_fraction": 0.0 if is_scratch else cell.unlabelled_fraction,
            "unlabelled_hours": 0.0 if is_scratch else cell.unlabelled_hours,
            **result,
            "measure": chosen_measure(result, params.ablation.measure),
        }
        if not is_scratch:
            tests = paired[(paired["corpus"] == row["corpus"]) & (paired["mode"] == row["mode"])]
            row |= _comparison(records(tests), row, params.report)
        rows.append(row)
    return rows


def _comparison(tests: list[dict[str, Any]], row: dict[str, Any], params: ReportParams) -> dict[str, Any]:
    """Put the paired tests of one cell and corpus into columns; intervals and p of the chosen measure alone."""
    chosen = next(test for test in tests if test["measure"] == row["measure"])
    mean, deviation, pairs = chosen["mean_difference"], chosen["std_difference"], chosen["n"]
    low, high = mean_interval(mean, deviation, pairs, confidence=params.confidence) or (None, None)
    return {
        **{f"{test['measure']}_difference": test["mean_difference"] for test in tests},
        "pairs": pairs,
        "scratch_mean": row[f"{row['measure']}_mean"] - mean,
        "difference": mean,
        "difference_std": deviation,
        "pairs_low": low,
        "pairs_high": high,
        "speakers_low": chosen["difference_low"],
        "speakers_high": chosen["difference_high"],
        "relative_gain": chosen["relative_gain"],
        "cohens_dz": chosen["cohens_dz"],
        "p": chosen["p_t_test"],
        "p_wilcoxon": chosen["p_wilcoxon"],
    }


def ablation_runs(cells: list[CellRuns]) -> pd.DataFrame:
    """Every training behind the table, scratch runs once a part: rows of ``finetune_runs`` with the cell's columns."""
    parts, served = [], _served(cells)
    for cell in cells:
        own = {"part": cell.part, "recipe": cell.recipe, "tasks": cell.tasks}
        parts.append(cell.runs.assign(**own, unlabelled_fraction=cell.unlabelled_fraction))
        recipes = served.pop((cell.part, cell.scratch_identity), "")
        if recipes:
            own = {"part": cell.part, "recipe": recipes, "tasks": "none"}
            parts.append(cell.scratch_runs.assign(**own, unlabelled_fraction=0.0))
    first = ["part", "recipe", "tasks", "unlabelled_fraction"]
    everything = pd.concat(parts, ignore_index=True)
    return everything[[*first, *(name for name in everything.columns if name not in first)]]


def markdown(table: pd.DataFrame, over: pd.DataFrame, params: Params, *, banner: str) -> list[str]:
    """Format the table for people: rules of each corpus, then its rows, the ablation's and the verdict's apart."""
    lines = ["# Does the face teach the voice?", ""]
    if banner:
        lines += [f"**{banner}**", ""]
    headings = {"verdict": "Verdict: fresh seeds and label draws", "ablation": "Ablation"}
    for part in (part for part in headings if part in set(table["part"])):
        lines += [f"## {headings[part]}", ""]
        for corpus, group in table[table["part"] == part].groupby("corpus", sort=True):
            rows = records(group)
            lines += [f"### {corpus}{' (synthetic)' if rows[0]['synthetic'] else ''}", "", _rules(rows), ""]
            lines += [*markdown_table([_readable(row) for row in rows]), ""]
        means = [ablation_overall.readable(row) for row in records(over[over["part"] == part])]
        if means:
            lines += ["### Over all shares of the labels", "", *markdown_table(means), ""]
    comparisons = int(table["p"].notna().sum()) if "p" in table else 0
    lines += [
        "Difference: cell minus scratch on the same folds, seeds and labels, with the "
        f"{100 * params.report.confidence:g} % interval of Student's t over the pairs. Speakers: the same interval for "
        "the pooled difference, over resampled speakers. Relative: per cent of scratch. p: paired t-test, two-sided; "
        f"Holm: corrected over all comparisons of the same heading ({comparisons} in the table). Over all shares: the "
        "difference of a fold and seed is averaged over the shares first, and corrected over its own table. Mean ± "
        "standard deviation over folds x seeds.",
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
        f"{row['protocol']}, {row['folds']} x {row['seeds']} seeds; chance {row['chance']:.3f}",
        f"transfer {' / '.join(transfers)}",
    ]
    if row["allow_pretrain_speakers"]:
        most = max(each["pretrain_speakers_in_test"] for each in rows)
        pieces.append(f"PRETRAINING SPEAKERS ALLOWED IN TEST FOLDS; {most} THERE")
    return "; ".join(pieces) + "."


def _readable(row: dict[str, Any]) -> dict[str, str]:
    cells = {
        "recipe": row["recipe"],
        "tasks": row["tasks"],
        "mode": row["mode"],
        "labels": f"{100 * row['label_fraction']:g} %",
        "unlabelled": f"{100 * row['unlabelled_fraction']:g} % ({row['unlabelled_hours']:.2f} h)",
    }
    shown = [name for name in measures_of(row) if name in {"macro_f1", "uar", row["measure"]}]
    cells |= {title(name): f"{row[f'{name}_mean']:.3f} ± {row[f'{name}_std']:.3f}" for name in shown}
    if row["mode"] == SCRATCH:
        return {**cells, "unlabelled": "none"}
    return cells | {
        f"{title(row['measure'])} difference": f"{row['difference']:+.3f}{interval(row, 'pairs')}",
        "speakers": interval(row, "speakers").strip(),
        **paired_cells(row),
    }


def read_ablation(reports: Path) -> pd.DataFrame:
    """Read the table back; raises InputError if there is none."""
    path = reports / "ablation.parquet"
    if not path.is_file():
        raise InputError(f"no finished ablation in {reports}: run `python -m trainer ablation` first")
    return pd.read_parquet(path)


def brief(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Format rows for a terminal of 80 columns."""
    result = []
    for row in rows:
        scratch = row["mode"] == SCRATCH
        mean, deviation = row[f"{row['measure']}_mean"], row[f"{row['measure']}_std"]
        difference = "" if scratch else f"{row['difference']:+.3f}{interval(row, 'pairs')}"
        result.append(
            {
                "recipe": row["recipe"] if scratch else f"{row['recipe']} {row['tasks']}",
                "mode": row["mode"],
                "labels": f"{100 * row['label_fraction']:g} %",
                "speech": "" if scratch else f"{100 * row['unlabelled_fraction']:g} %",
                title(row["measure"]): f"{mean:.3f}±{deviation:.3f}".replace("0.", "."),
                "minus scratch": difference.replace("0.", "."),
                "Holm p": "" if scratch or pd.isna(row["p_holm"]) else f"{row['p_holm']:.3f}".replace("0.", "."),
                "": {"no difference shown": "", "too few pairs": "few pairs"}.get(row["conclusion"], row["conclusion"]),
            }
        )
    return result


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
