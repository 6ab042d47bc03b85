"""What the arms of the controls show, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from trainer.report.formatting import plain, title
from trainer.report.numbers import number, percent

ENOUGH_PRETRAININGS = 4  # pretrained models below which their spread is not known well enough [ours]


def answer(row: Mapping[str, Any], *, of_others: Collection[str], alpha: float = 0.05) -> str:
    """Say what a row shows.

    What starts from pretrained models shares their luck, which fine-tuning seeds do not average out: the face is named
    only where both comparisons hold with these models as units, too, and there are `ENOUGH_PRETRAININGS`.

    Args:
        row: of `controls_table`.
        of_others: arms with the faces of others.
        alpha: level of the tests over pretrained models.

    >>> gain = {"arm": "dense", "control": "exchanged", "conclusion": "better", "control_conclusion": "better"}
    >>> answer(gain, of_others={"exchanged"})
    'the face teaches'
    >>> answer({**gain, "pretrainings": 9, "control_pretrainings": 2}, of_others={"exchanged"})
    'better, of too few pretrainings to name the face'
    """
    arm, control = row["arm"], row["control"]
    if row["conclusion"] != "better":
        return str(row["conclusion"])
    if arm in of_others:
        return "better, with the faces of others"
    if not control:
        return "better"
    shown = row["control_conclusion"] == "better"
    if control in of_others:
        return _of_the_face(row, alpha=alpha) if shown else "better, not shown to be the face"
    return f"better, also than {control}" if shown else f"better, not shown to be more than {control}"


def _of_the_face(row: Mapping[str, Any], *, alpha: float) -> str:
    counts = [row.get(f"{side}pretrainings") for side in ("", "control_")]
    if all(count is None or pd.isna(count) for count in counts):  # it starts from no pretrained model
        return "the face teaches"
    if not all(count is not None and count >= ENOUGH_PRETRAININGS for count in counts):
        return "better, of too few pretrainings to name the face"
    tests = [(row[f"{side}pretrainings_mean"], row[f"{side}p_pretrainings"]) for side in ("", "control_")]
    holds = all(mean > 0 and p < alpha for mean, p in tests)
    return "the face teaches" if holds else "better, not shown over pretrainings to be the face"


def sentence(rows: list[dict[str, Any]]) -> str:
    """Say in one sentence what the arms of a corpus show: about the face, if it was asked."""
    corpus = plain(rows[0]["corpus"])
    shown = [row for row in rows if row["answer"] == "the face teaches"]
    if shown:
        best = max(shown, key=lambda row: row["difference"])
        return (
            f"{corpus}: the face teaches the voice ({best['arm']}: {title(best['measure'])} "
            f"{number(best['difference'], signed=True)} or {percent(best['relative_gain'])} over scratch, "
            f"{number(best['control_difference'], signed=True)} over the faces of others)."
        )
    if any(row["answer"] == "better, not shown to be the face" for row in rows):
        return f"{corpus}: better than scratch, but no more than with the faces of others."
    if asks_about_faces(rows):
        return f"{corpus}: no gain by the face is shown."
    found = ", ".join(str(row["arm"]) for row in rows if str(row["answer"]).startswith("better"))
    return (
        f"{corpus}: better than scratch: {found}." if found else f"{corpus}: no arm is shown to be better than scratch."
    )


def asks_about_faces(rows: list[dict[str, Any]]) -> bool:
    """Return whether some arm was trained on the faces of others, so that the table can say what the face does."""
    return any(row.get("others_faces", True) for row in rows)  # older tables lack it


def answers(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows that answer for each corpus: the average over all shares of the labels, or the only share."""
    return [group[group["label_fractions"] == group["label_fractions"].iloc[0]] for _, group in table.groupby("corpus")]
