"""The table of a comparison; for `sequence` also the cost, and what is left of the accuracy on less of an utterance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.evaluation.tables import (
    comparison_columns,
    paired_table,
    pool,
    result_table,
    with_baselines,
    with_conclusions,
)
from trainer.params import ComparisonParams, ReportParams, SequenceParams
from trainer.report import figures
from trainer.report.formatting import (
    PAIR_NOTE,
    brief_comparison,
    chosen_measure,
    interval,
    markdown_table,
    measures_of,
    plain,
    records,
    rules_line,
    synthetic_banner,
    title,
)
from trainer.report.numbers import bare_p, mean_spread, number
from trainer.store import replace_file, write_table, write_text

_SHOWN = ("macro_f1", "uar", "kl", "f1_over_chance")  # measures in the table for people, next to the compared one


def write_comparison(
    reports: Path,
    params: ReportParams,
    recipe: ComparisonParams,
    *,
    runs: pd.DataFrame,
    predictions: pd.DataFrame,
    lengths: pd.DataFrame,
    costs: pd.DataFrame,
) -> pd.DataFrame:
    """Write <name>.parquet, .csv, .md, <name>_runs, and with lengths <name>.png and <name>_lengths; return the table.

    ``runs`` and ``predictions`` have the form of fine-tuning's, with systems as modes; ``lengths`` a row a training and
    share, ``costs`` a row a corpus and system, both empty but for ``sequence``. Baselines in ``reports`` join in.

    Raises:
        InputError: the baselines are of other folds or utterances.
    """
    name = recipe.name
    runs, predictions = with_baselines(reports, runs, predictions)
    table = comparison_table(params, recipe, runs=runs, predictions=predictions, lengths=lengths, costs=costs)
    banner = synthetic_banner(set(table["corpus"]))
    write_table(reports / f"{name}_runs.parquet", runs)
    write_table(reports / f"{name}.parquet", table)
    write_table(reports / f"{name}.csv", table)
    write_text(reports / f"{name}.md", "\n".join(markdown(table, params, recipe, banner=banner)))
    if isinstance(recipe, SequenceParams):
        shares = recipe.shares
        write_table(reports / f"{name}_lengths.parquet", lengths)
        replace_file(reports / f"{name}.png", lambda path: figures.length_figure(path, table, shares, note=banner))
    return table


def comparison_table(
    params: ReportParams,
    recipe: ComparisonParams,
    *,
    runs: pd.DataFrame,
    predictions: pd.DataFrame,
    lengths: pd.DataFrame,
    costs: pd.DataFrame,
) -> pd.DataFrame:
    """One row per corpus and system, in the order of ``recipe.systems``, baselines last.

    Columns of the result table; ``length`` .. ``milliseconds`` of `trainer.recipes.comparison.systems.costs`;
    ``difference`` of ``measure`` to the first system over pairs of equal fold and seed, with Student's interval
    ``pairs_low``, ``pairs_high`` and the interval of the pooled difference over speakers; ``p`` (paired t-test),
    ``p_holm`` (corrected over all comparisons of the table), ``conclusion``; ``at_<per cent>`` and
    ``at_<per cent>_std``: ``measure`` on that share of every test utterance (baselines have whole utterances alone:
    their functionals are made of them).
    """
    first = next(iter(recipe.systems))
    pooled = pool(runs, predictions, params=params)
    paired = paired_table(runs, pooled, params=params, against=first)
    order = list(dict.fromkeys(runs["mode"]))
    rows = []
    for result in records(result_table(runs, pooled, params=params)):
        own = chosen_measure(result, recipe.measure)
        row: dict[str, Any] = {**result, "measure": own}
        if not lengths.empty:
            of_row = (lengths["corpus"] == row["corpus"]) & (lengths["mode"] == row["mode"])
            for share, group in lengths[of_row].groupby("share"):
                row |= {at(share): group[own].mean(), f"{at(share)}_std": group[own].std(ddof=1)}
        tests = paired[(paired["corpus"] == row["corpus"]) & (paired["mode"] == row["mode"])]
        chosen = [test for test in records(tests) if test["measure"] == own]
        rows.append(row | comparison_columns(chosen[0] if chosen else None, confidence=params.confidence))
    table = pd.DataFrame(rows)
    if not costs.empty:
        table = table.merge(costs, on=["corpus", "mode"], how="left", validate="one_to_one")
    table = with_conclusions(table, alpha=params.alpha)
    table["_order"] = table["mode"].map(order.index)
    table = table.sort_values(["corpus", "_order"], ignore_index=True).drop(columns="_order")
    return table.rename(columns={"mode": "system"})


def at(share: float) -> str:
    """Name the column of a share of the length.

    >>> at(0.25), at(1)
    ('at_25', 'at_100')
    """
    return f"at_{100 * share:g}"


def markdown(table: pd.DataFrame, params: ReportParams, recipe: ComparisonParams, *, banner: str) -> list[str]:
    """Format the table for people: rules of each corpus, then its systems."""
    lines = [f"# {recipe.heading}", ""]
    if banner:
        lines += [f"**{plain(banner)}**", ""]
    shares = recipe.shares if isinstance(recipe, SequenceParams) else ()
    for corpus, group in table.groupby("corpus", sort=True):
        rows = records(group)
        lines += [f"## {plain(corpus)}", "", f"{plain(rules_line(rows))}.", ""]
        lines += [*markdown_table([_readable(row, shares) for row in rows]), ""]
    note = (
        f"Mean ± standard deviation over folds x seeds. Difference: to {next(iter(recipe.systems))} on the same folds "
        f"and seeds, with the {100 * params.confidence:g} % interval of Student's t over the pairs, and with folds as "
        "units; p: paired t-test, "
        f"corrected over all {int(table['p'].notna().sum())} comparisons (Holm)."
    )
    if isinstance(recipe, SequenceParams):
        note += (
            f" Columns in per cent: the same networks on the {recipe.cut} of every test utterance. ms: from the "
            "features of one utterance to its answer, median, CPU, one thread."
        )
    return [*lines, note, "", PAIR_NOTE, ""]


def _readable(row: dict[str, Any], shares: Sequence[float]) -> dict[str, str]:
    cells = {"system": row["system"]}
    network = pd.notna(row.get("parameters"))
    if network:
        cells["chunks"] = f"{row['chunks']:.0f} x {row['chunk_seconds']:.2f} s"
    shown = [name for name in measures_of(row) if name in {*_SHOWN, row["measure"]}]
    cells |= {title(name): mean_spread(row[f"{name}_mean"], row[f"{name}_std"]) for name in shown}
    if pd.notna(row["difference"]):
        cells["difference"] = number(row["difference"], signed=True) + interval(row, "pairs")
        cells["folds"] = interval(row, "folds").strip()
        cells["pairs"] = f"{row['pairs']:.0f}"
        cells["Holm"] = bare_p(row["p_holm"])
        cells["shown"] = row["conclusion"]
    if network:
        cells |= {"parameters": f"{row['parameters']:.0f}", "ms": f"{row['milliseconds']:.2f}"}
        cells |= {f"{100 * share:g} %": number(row[at(share)]) for share in shares}
    return cells


def brief(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Format rows for a terminal of 80 columns."""
    result = []
    for row in rows:
        cells = {"system": row["system"], **brief_comparison(row, reference="first")}
        if "milliseconds" in row:
            cells["ms"] = "" if pd.isna(row["milliseconds"]) else f"{row['milliseconds']:.1f}"
        result.append(cells)
    return result
