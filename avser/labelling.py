"""The command ``avser labels``: three labels a segment, each with its number, its threshold and why it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from avser.predict import check_output, count, write
from pipeline.checks.film import label_film
from pipeline.contracts import OK

_UNITS = {"t1": "dB", "t2": "eye distances/s"}
_TITLES = {"t1": "T1 energy variation", "t2": "T2 facial activation", "t3": "T3 emotion"}


def run_labels(film: Path, *, thresholds: Path, corpus: str | None, speaker: str | None, output: Path | None) -> bool:
    """Print the labels of every segment of a film and why; write the table that is wanted.

    Returns:
        Whether any segment could be used.

    Raises:
        InputError: as `pipeline.checks.film.label_film`, or ``output`` is neither CSV nor Parquet.
    """
    check_output(output)
    table = label_film(film, thresholds=thresholds, corpus=corpus, speaker=speaker)
    for row in table.to_dict("records"):
        print("\n".join(lines({str(name): value for name, value in row.items()})))
    usable = table["status"] == OK
    print(f"{count(int(usable.sum()), 'segment')} of {film}, by {thresholds}")
    if output is not None:
        write(output, table)
    return bool(usable.any())


def lines(row: dict[str, Any]) -> list[str]:
    """Return what the screen says of one segment, a row of `label_film`."""
    if row["status"] != OK:
        return [f"{row['segment_id']}  cannot be used: {row['reason']}"]
    face = f"a usable face in {row['valid_ratio']:.0%} of the frames"
    return [f"{row['segment_id']}  {row['start']:.2f}-{row['end']:.2f} s, {face}",
            *(_two_classes(row, task) for task in _UNITS), _emotion(row)]  # fmt: skip


def _two_classes(row: dict[str, Any], task: str) -> str:
    label, stat, low, high = (row[f"{task}_{part}"] for part in ("label", "stat", "low", "high"))
    text = f"  {_TITLES[task]:<22}{_shown(label):<11}"
    if pd.isna(stat):
        return f"{text}{row[f'{task}_reason']}"
    if pd.isna(low):
        return f"{text}{stat:.3g} {_UNITS[task]}; there is no threshold for it"
    edges = f"threshold {low:.3g}" if low == high else f"thresholds {low:.3g} and {high:.3g}"
    why = "" if isinstance(label, str) else f"; {row[f'{task}_reason']}"
    return f"{text}{stat:.3g} {_UNITS[task]}, {edges}, margin {row[f'{task}_margin']:+.2g}{why}"


def _emotion(row: dict[str, Any]) -> str:
    text = f"  {_TITLES['t3']:<22}{_shown(row['t3_label']):<11}"
    if pd.isna(row["t3_confidence"]):
        return f"{text}{row['t3_reason']}"
    about = {"label", "confidence", "reason", "baseline"}
    scores = {name[3:]: score for name, score in row.items() if name.startswith("t3_") and name[3:] not in about}
    best = sorted(scores, key=lambda name: -scores[name])[:3]
    listed = ", ".join(f"{name} {scores[name]:.2f}" for name in best)
    # Of a missing label the reason states the margin.
    margin = f"margin {row['t3_confidence']:.2f}" if isinstance(row["t3_label"], str) else row["t3_reason"]
    return f"{text}{margin}; scores above the face of {row['t3_baseline']}: {listed}"


def _shown(label: Any) -> str:
    return label if isinstance(label, str) else "none"
