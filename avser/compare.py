"""Compare two results: numbers side by side, differences, and paired tests where the same utterances were tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avser.results import Result, opened

if TYPE_CHECKING:
    import pandas as pd

    from trainer.params import ReportParams

CHANGES = 12  # changed parameters that are listed
_TASKS = {"t1": "T1 labels, UAR", "t2": "T2 labels, UAR", "t3": "T3 labels, UAR"}


@dataclass(frozen=True)
class Comparison:
    """What is shown: a table of cells under each title, changed parameters, and notes on what could not be compared."""

    tables: dict[str, list[dict[str, str]]]
    changed: list[dict[str, str]]
    notes: list[str]


def compare(first: Result, second: Result, params: ReportParams) -> Comparison:
    """Compare two results.

    The paired t-test is over trainings of equal fold and seed that were tested on the same utterances; its p values
    are corrected over all tests of the comparison (Holm).

    Args:
        first: the older result, from which differences are counted.
        second: the newer one.
        params: measure, level of significance, confidence.
    """
    notes: list[str] = []
    changed = _changed(first, second)
    tables = [each.table("results.csv") for each in (first, second)]
    if tables[0] is None or tables[1] is None:
        lacking = (each.name for each, table in zip((first, second), tables, strict=True) if table is None)
        notes.append(
            f"{' and '.join(lacking)}: only metrics.json is at hand, not the tables (`dvc fetch` may have them); "
            "nothing is tested"
        )
        cells = _cells(_flat(first.json("metrics.json")), _flat(second.json("metrics.json")), first, second)
        return Comparison({"": cells}, changed, notes)
    tests = _tests(first, second, params, notes)
    shown = {}
    for corpus in dict.fromkeys([*tables[0]["corpus"], *tables[1]["corpus"]]):
        old, new = (_numbers(each, str(corpus), params.measure) for each in (first, second))
        own = {name: row for (of, name), row in tests.items() if of == corpus}
        shown[str(corpus)] = _cells(old, new, first, second, own)
    old, new = _label_numbers(first), _label_numbers(second)
    if old and new and old != new:
        shown["labels of the unlabelled films"] = _cells(old, new, first, second)
    return Comparison(shown, changed, notes)


def _numbers(result: Result, corpus: str, measure: str) -> dict[str, float]:
    """Return the numbers of a corpus by name: two measures of every network, its difference to scratch and the p."""
    from trainer.report.findings import networks
    from trainer.report.formatting import main_measures, records, title

    numbers: dict[str, float] = {}
    table, paired = result.table("results.csv"), result.table("paired.csv")
    assert table is not None
    for row in records(networks(table[table["corpus"] == corpus])):
        for name in main_measures(row, measure):
            numbers[f"{row['mode']}, {title(name)}"] = row[f"{name}_mean"]
        if paired is None:
            continue
        own = (paired["corpus"] == corpus) & (paired["mode"] == row["mode"])
        for test in records(paired[own & (paired["measure"] == main_measures(row, measure)[0])]):
            numbers[f"{row['mode']} - scratch"] = test["mean_difference"]
            numbers[f"{row['mode']} - scratch, p"] = test["p_t_test"]
    return numbers


def _label_numbers(result: Result) -> dict[str, float]:
    summary = result.json("pipeline.json")
    numbers = {
        f"segments, {name}": float(one["segments"])
        for name, one in summary.items()
        if isinstance(one, dict) and isinstance(one.get("segments"), int) and "clips_in" in one
    }
    planted = summary.get("planted_truth", {})
    return numbers | {_TASKS[task]: row["uar"] for task, row in planted.items() if task in _TASKS}


def _tests(
    first: Result, second: Result, params: ReportParams, notes: list[str]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Test every network that both results have, in the measure of the comparison: (corpus, row name) -> test."""
    import pandas as pd

    from trainer.evaluation.tables import comparison_columns, paired_table, pool, with_conclusions
    from trainer.report.formatting import chosen_measure, records, title

    tables = [each.table(name) for name in ("finetune_runs.parquet", "predictions.parquet") for each in (first, second)]
    if any(table is None for table in tables):
        notes.append("the single runs of one result are not at hand (`dvc fetch` may have them): nothing is tested")
        return {}
    old_runs, new_runs, old_predictions, new_predictions = (table for table in tables if table is not None)
    rows = []
    for corpus, mode in dict.fromkeys(old_runs[["corpus", "mode"]].itertuples(index=False, name=None)):
        runs, predictions = [], []
        sides = ((old_runs, old_predictions, "first"), (new_runs, new_predictions, "second"))
        for own_runs, answers, which in sides:
            runs.append(own_runs[(own_runs["corpus"] == corpus) & (own_runs["mode"] == mode)].assign(mode=which))
            own = answers[(answers["corpus"] == corpus) & (answers["mode"] == mode)]
            predictions.append(own.assign(mode=which))
        if runs[1].empty:
            continue
        if why := _not_comparable(runs, predictions):
            notes.append(f"{corpus}, {mode}: {why}; not tested")
            continue
        both = pd.concat(runs, ignore_index=True)
        pooled = pool(both, pd.concat(predictions, ignore_index=True), params=params)
        tests = paired_table(both, pooled, params=params, against="first")
        measure = chosen_measure({f"{name}_mean": 0.0 for name in pooled[str(corpus)].objective.shown}, params.measure)
        for test in records(tests[tests["measure"] == measure]):
            identity = {"corpus": corpus, "name": f"{mode}, {title(measure)}", "measure": measure}
            rows.append(identity | comparison_columns(test, confidence=params.confidence))
    if not rows:
        return {}
    concluded = with_conclusions(pd.DataFrame(rows), alpha=params.alpha)
    return {(str(row["corpus"]), str(row["name"])): row for row in records(concluded)}


def _not_comparable(runs: list[pd.DataFrame], predictions: list[pd.DataFrame]) -> str:
    """Say why two sets of trainings cannot be paired, or nothing."""
    if set(runs[0]["objective"]) != set(runs[1]["objective"]):
        return "another objective"
    tested = [set(table[["fold", "segment_id"]].itertuples(index=False, name=None)) for table in predictions]
    if tested[0] != tested[1]:
        return "other utterances or folds were tested"
    pairs = [set(table[["fold", "seed"]].itertuples(index=False, name=None)) for table in runs]
    return "" if pairs[0] & pairs[1] else "no seed in common"


def _cells(
    old: Mapping[str, float],
    new: Mapping[str, float],
    first: Result,
    second: Result,
    tests: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, str]]:
    """Lay numbers out side by side: a row a number, with the paired test of those that have one."""
    from trainer.report.numbers import bare_p, bounds, number

    headings = _headings(first, second)
    rows = []
    for name in dict.fromkeys([*old, *new]):
        values = [numbers.get(name) for numbers in (old, new)]
        digits = 0 if name.startswith("segments") else 3
        row = {"": name} | {heading: number(value, digits) for heading, value in zip(headings, values, strict=True)}
        missing = any(value is None or value != value for value in values)
        both = None if missing or name.endswith(", p") else values[1] - values[0]  # type: ignore[operator]
        row["difference"] = number(both, digits, signed=True)
        if tests:
            test = tests.get(name)
            equal = test is not None and not test["difference"] and not test["difference_std"]
            row["interval"] = bounds(test["pairs_low"], test["pairs_high"], signed=True) if test and not equal else ""
            row["p"] = bare_p(test["p_holm"]) if test and not equal else ""
            row["what follows"] = "every run is equal" if equal else test["conclusion"] if test else ""
        rows.append(row)
    return rows


def _changed(first: Result, second: Result) -> list[dict[str, str]]:
    """List the parameters in which two results differ."""
    if first.params is None or second.params is None:
        return []
    old, new = _flat(first.params), _flat(second.params)
    headings = _headings(first, second)
    return [
        {"parameter": key, headings[0]: str(old.get(key, "not set")), headings[1]: str(new.get(key, "not set"))}
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def _headings(first: Result, second: Result) -> tuple[str, str]:
    """Name two results in few letters, and differently."""
    names = [Path(each.name).name if Path(each.name).is_dir() else each.name for each in (first, second)]
    return (names[0], names[1]) if names[0] != names[1] else ("first", "second")


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries as DVC does: keys joined by points."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item}
    return flat


def show(first: str, second: str, *, reports: Path, params: Path) -> None:
    """Print the comparison of two results."""
    from rich.markup import escape

    from trainer.console import console, narrow
    from trainer.params import ReportParams, load_params

    options = load_params(params).report if params.is_file() else ReportParams()
    with opened(first, reports) as old, opened(second, reports) as new:
        compared = compare(old, new, options)
    if compared.changed:
        console.print("[bold]changed parameters[/]")
        console.print(narrow(compared.changed[:CHANGES]))
        if len(compared.changed) > CHANGES:
            console.print(f"and {len(compared.changed) - CHANGES} more: `dvc params diff` lists them\n")
    for note in compared.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    console.print(
        f"difference: {escape(second)} minus {escape(first)}; interval ({100 * options.confidence:g} %) and p (paired "
        "t-test, Holm): over trainings of equal fold and seed"
    )
    for title, rows in compared.tables.items():
        console.print(f"\n[bold]{escape(title)}[/]")
        console.print(narrow(rows) if rows else "no numbers")
