"""The table of a comparison; for `sequence` also the cost, and what is left of the accuracy on less of an utterance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from trainer.evaluation.significance import holm, mean_interval
from trainer.evaluation.tables import paired_table, pool, result_table, with_baselines
from trainer.objectives.base import title
from trainer.params import ComparisonParams, Params
from trainer.report import figures
from trainer.report.formatting import (
    PAIR_NOTE,
    bare_p,
    chosen_measure,
    conclusion,
    interval,
    markdown_table,
    measures_of,
    records,
    rules_line,
    synthetic_banner,
)
from trainer.store import replace_file

_SHOWN = ("macro_f1", "uar", "kl", "f1_over_chance")  # measures in the table for people, beside the compared one


def write_comparison(
    name: str,
    reports: Path,
    params: Params,
    *,
    runs: pd.DataFrame,
    predictions: pd.DataFrame,
    lengths: pd.DataFrame,
    costs: pd.DataFrame,
) -> pd.DataFrame:
    """Write <name>.parquet, .csv, .md, <name>_runs, and with lengths <name>.png and <name>_lengths; return the table.

    ``runs`` and ``predictions`` have the form of fine-tuning's, with systems as modes; ``lengths`` a row a training and
    share, ``costs`` a row a corpus and system, both empty where they are not asked for. Raises InputError for baselines
    of other folds or utterances.
    """
    runs, predictions = with_baselines(reports, runs, predictions)
    table = comparison_table(name, params, runs=runs, predictions=predictions, lengths=lengths, costs=costs)
    banner = synthetic_banner(set(table["corpus"]))
    text = "\n".join(markdown(name, table, params, banner=banner))
    replace_file(reports / f"{name}_runs.parquet", lambda path: runs.to_parquet(path, index=False))
    replace_file(reports / f"{name}.parquet", lambda path: table.to_parquet(path, index=False))
    replace_file(reports / f"{name}.csv", lambda path: table.to_csv(path, index=False))
    replace_file(reports / f"{name}.md", lambda path: _write(path, text))
    if not lengths.empty:
        shares = params.sequence.shares
        replace_file(reports / f"{name}_lengths.parquet", lambda path: lengths.to_parquet(path, index=False))
        replace_file(reports / f"{name}.png", lambda path: figures.length_figure(path, table, shares, note=banner))
    return table


def comparison_table(
    name: str,
    params: Params,
    *,
    runs: pd.DataFrame,
    predictions: pd.DataFrame,
    lengths: pd.DataFrame,
    costs: pd.DataFrame,
) -> pd.DataFrame:
    """One row per corpus and system, in the order of the section's ``systems``, baselines last.

    Columns of the result table; ``length`` .. ``milliseconds`` of `trainer.recipes.comparison.systems.costs`; ``difference`` of
    ``measure`` to the first system over pairs of equal fold and seed, with Student's interval ``pairs_low``,
    ``pairs_high`` and the interval of the pooled difference over speakers; ``p`` (paired t-test), ``p_holm`` (corrected
    over all comparisons of the table), ``conclusion``; ``at_<per cent>`` and ``at_<per cent>_std``: ``measure`` on that
    share of every test utterance (baselines hear whole utterances alone: their functionals are made of them).
    """
    options: ComparisonParams = getattr(params, name)
    first = next(iter(options.systems))
    pooled = pool(runs, predictions, params=params.report)
    paired = paired_table(runs, pooled, params=params.report, against=first)
    order = list(dict.fromkeys(runs["mode"]))
    rows = []
    for result in records(result_table(runs, pooled, params=params.report)):
        own = chosen_measure(result, options.measure)
        row: dict[str, Any] = {**result, "measure": own}
        if not lengths.empty:
            mine = (lengths["corpus"] == row["corpus"]) & (lengths["mode"] == row["mode"])
            for share, group in lengths[mine].groupby("share"):
                row |= {at(share): group[own].mean(), f"{at(share)}_std": group[own].std(ddof=1)}
        tests = paired[(paired["corpus"] == row["corpus"]) & (paired["mode"] == row["mode"])] if len(paired) else paired
        chosen = [test for test in records(tests) if test["measure"] == own]
        rows.append(row | _comparison(chosen[0] if chosen else None, confidence=params.report.confidence))
    table = pd.DataFrame(rows)
    if not costs.empty:
        table = table.merge(costs, on=["corpus", "mode"], how="left", validate="one_to_one")
    table["p_holm"] = holm(table["p"].astype(float))
    table["conclusion"] = [conclusion(row, alpha=params.report.alpha) for row in records(table)]
    table["_order"] = table["mode"].map(order.index)
    table = table.sort_values(["corpus", "_order"], ignore_index=True).drop(columns="_order")
    return table.rename(columns={"mode": "system"})


def at(share: float) -> str:
    """Name the column of a share of the length.

    >>> at(0.25), at(1)
    ('at_25', 'at_100')
    """
    return f"at_{100 * share:g}"


def _comparison(test: dict[str, Any] | None, *, confidence: float) -> dict[str, Any]:
    """Put a paired test into columns, all None for the first system itself."""
    names = ("difference", "difference_std", "pairs", "pairs_low", "pairs_high", "speakers_low", "speakers_high")
    if test is None:
        return dict.fromkeys((*names, "cohens_dz", "p", "p_wilcoxon"))
    mean, deviation, pairs = test["mean_difference"], test["std_difference"], test["n"]
    bounds = mean_interval(mean, deviation, pairs, confidence=confidence) or (None, None)
    values = (mean, deviation, pairs, *bounds, test["difference_low"], test["difference_high"])
    tests = {"cohens_dz": test["cohens_dz"], "p": test["p_t_test"], "p_wilcoxon": test["p_wilcoxon"]}
    return {**dict(zip(names, values, strict=True)), **tests}


def markdown(name: str, table: pd.DataFrame, params: Params, *, banner: str) -> list[str]:
    """Format the table for people: rules of each corpus, then its systems."""
    options: ComparisonParams = getattr(params, name)
    lines = [f"# {options.heading}", ""]
    if banner:
        lines += [f"**{banner}**", ""]
    for corpus, group in table.groupby("corpus", sort=True):
        rows = records(group)
        lines += [f"## {corpus}", "", f"{rules_line(rows)}.", ""]
        lines += [*markdown_table([_readable(row, params) for row in rows]), ""]
    confidence = f"{100 * params.report.confidence:g} %"
    note = (
        f"Mean ± standard deviation over folds x seeds. Difference: to {next(iter(options.systems))} on the "
        f"same folds and seeds, with the {confidence} interval of Student's t over the pairs; p: paired t-test, "
        f"corrected over all {int(table['p'].notna().sum())} comparisons (Holm)."
    )
    if "parameters" in table:
        note += (
            f" Columns in per cent: the same networks on the {params.sequence.cut} of every test utterance. ms: from "
            "the features of one utterance to its answer, median, CPU, one thread."
        )
    return [
        *lines,
        note,
        "",
        PAIR_NOTE,
        "",
    ]


def _readable(row: dict[str, Any], params: Params) -> dict[str, str]:
    cells = {"system": row["system"]}
    network = pd.notna(row.get("parameters"))
    if network:
        cells["chunks"] = f"{row['chunks']:.0f} x {row['chunk_seconds']:.2f} s"
    shown = [name for name in measures_of(row) if name in {*_SHOWN, row["measure"]}]
    cells |= {title(name): f"{row[f'{name}_mean']:.3f} ± {row[f'{name}_std']:.3f}" for name in shown}
    if pd.notna(row["difference"]):
        cells["difference"] = f"{row['difference']:+.3f}{interval(row, 'pairs')}"
        cells["pairs"] = f"{row['pairs']:.0f}"
        cells["Holm"] = bare_p(row["p_holm"])
        cells["shown"] = row["conclusion"]
    if network:
        cells |= {"parameters": f"{row['parameters']:.0f}", "ms": f"{row['milliseconds']:.2f}"}
        cells |= {f"{100 * share:g} %": f"{row[at(share)]:.3f}" for share in params.sequence.shares}
    return cells


def brief(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Format rows for a terminal of 80 columns."""
    result = []
    for row in rows:
        own, network = row["measure"], pd.notna(row.get("parameters"))
        cells = {
            "system": row["system"],
            title(own): f"{row[f'{own}_mean']:.3f}±{row[f'{own}_std']:.3f}",
            "minus first": "" if pd.isna(row["difference"]) else f"{row['difference']:+.3f}{interval(row, 'pairs')}",
            "Holm p": "" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.3f}",
        }
        if "milliseconds" in row:
            cells["ms"] = f"{row['milliseconds']:.1f}" if network else ""
        result.append(
            {name: cell if name in ("system", "ms") else cell.replace("0.", ".") for name, cell in cells.items()}
        )
    return result


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
