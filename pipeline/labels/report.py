"""What the labels say of a corpus: counts, abstentions and their reasons, confidence, what each statistic adds."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

TASKS = {"t1": "T1 energy variation", "t2": "T2 facial activation", "t3": "T3 emotion"}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PAIRS = (
    ("t1_stat", "t2_stat"),
    ("t1_stat", "t2_mouth"),
    ("t1_stat", "t2_rest"),
    ("t2_stat", "t2_mouth"),
    ("t2_stat", "t2_rest"),
    ("t2_mouth", "t2_rest"),
)
MIN_PAIRS = 10  # segments a rank correlation needs to be reported


def label_summary(labels: pd.DataFrame) -> dict[str, Any]:
    """Return the summary of all segments and, under ``by_corpus``, of each corpus.

    Args:
        labels: the pseudo-label table.

    Returns:
        ``t1`` ... ``t3``: ``counts`` and ``missing`` (reason -> segments); ``spearman`` between the statistics;
        ``t3_confidence``: quantiles; ``t3_confidence_by_label``: medians.
    """
    parts = {str(corpus): _one(rows) for corpus, rows in labels.groupby("corpus")}
    return _one(labels) | ({"by_corpus": parts} if len(parts) > 1 else {})


def _one(labels: pd.DataFrame) -> dict[str, Any]:
    out: dict[str, Any] = {"segments": len(labels)}
    for task in TASKS:
        has = labels[f"{task}_label"].notna()
        counts = labels.loc[has, f"{task}_label"].value_counts().sort_index()
        out[task] = {
            "counts": {str(name): int(count) for name, count in counts.items()},
            "missing": reasons(labels.loc[~has, f"{task}_reason"]),
        }
    out["spearman"] = {f"{a}~{b}": _spearman(labels[a], labels[b]) for a, b in PAIRS}
    confidence = labels.loc[labels["t3_label"].notna()]
    out["t3_confidence"] = {f"{q:g}": _number(confidence["t3_confidence"].quantile(q)) for q in QUANTILES}
    median = confidence.groupby("t3_label")["t3_confidence"].median()
    out["t3_confidence_by_label"] = {str(name): _number(value) for name, value in median.items()}
    return out


def reasons(column: pd.Series) -> dict[str, int]:
    """Count rows by reason; numbers in a reason are specific to a file and are left out.

    >>> reasons(pd.Series(["a face in 40% of the frames", "a face in 3% of the frames", None]))
    {'a face in N% of the frames': 2, 'unknown': 1}
    """
    counts = column.fillna("unknown").str.replace(r"-?\d+(\.\d+)?", "N", regex=True).value_counts()
    return {str(reason): int(count) for reason, count in sorted(counts.items())}


def _spearman(a: pd.Series, b: pd.Series) -> float | None:
    both = a.notna() & b.notna()
    return _number(a[both].corr(b[both], method="spearman")) if both.sum() >= MIN_PAIRS else None


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else round(float(value), 4)


def print_summary(report: dict[str, Any]) -> None:
    """Print the label part of ``reports/pipeline.json`` as tables: a column a corpus."""
    console = Console(width=None if Console().is_terminal else 110)
    labels = report["pseudo_labels"]
    parts = {**labels.get("by_corpus", {}), "all": labels}
    for task, title in TASKS.items():
        found = _table(title, parts)
        for name in sorted({name for part in parts.values() for name in part[task]["counts"]}):
            found.add_row(name, *(_count(part, part[task]["counts"].get(name, 0)) for part in parts.values()))
        for why in sorted({why for part in parts.values() for why in part[task]["missing"]}):
            found.add_row(
                f"no label: {why}", *(_count(part, part[task]["missing"].get(why, 0)) for part in parts.values())
            )
        console.print(found)
    found = _table("T3 confidence (margin to the runner-up, standard deviations)", parts)
    for quantile in labels["t3_confidence"]:
        found.add_row(f"quantile {quantile}", *(_text(part["t3_confidence"][quantile]) for part in parts.values()))
    for name in labels["t3_confidence_by_label"]:
        values = [part["t3_confidence_by_label"].get(name) for part in parts.values()]
        found.add_row(f"median of {name}", *map(_text, values))
    console.print(found)
    found = _table("Rank correlation over segments (Spearman)", parts)
    for pair in labels["spearman"]:
        found.add_row(pair.replace("~", " ~ "), *(_text(part["spearman"][pair]) for part in parts.values()))
    console.print(found)
    if planted := report.get("planted_truth"):
        found = Table(
            "", "n", "UAR", "chance", "kappa", title="Agreement with the planted classes", title_justify="left"
        )
        for task, row in planted.items():
            numbers = (f"{row[name]:.2f}" for name in ("uar", "uar_chance", "kappa"))
            found.add_row(TASKS[task], str(row["n"]), *numbers)
        console.print(found)
    if units := report.get("planted_action_units"):
        readings = "  ".join(f"{unit} {rho:.2f}" for unit, rho in units.items())
        console.print(f"Planted action units, mean rank correlation over time: {readings}\n")


def _table(title: str, parts: dict[str, Any]) -> Table:
    found = Table(title=title, title_justify="left")
    found.add_column("")
    for name, part in parts.items():
        found.add_column(f"{name} ({part['segments']})", justify="right")
    return found


def _count(part: dict[str, Any], count: int) -> str:
    return f"{count} ({count / max(1, part['segments']):.0%})" if count else "-"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
