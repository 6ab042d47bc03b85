"""Results as text: full tables for a page, short ones for a terminal of 80 columns, sentences for tests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from trainer.report.numbers import bare_p, bounds, mean_spread, number, p_value, percent

_TITLES = {
    "macro_precision": "macro P",
    "macro_recall": "macro R",
    "uar": "UAR",
    "macro_f1": "macro F1",
    "accuracy": "weighted accuracy",
    "kl": "KL",
    "hamming": "Hamming loss",
    "ranking": "ranking loss",
    "coverage": "coverage",
    "ece": "calibration error",
    "f1_over_chance": "macro F1, share > 1/K",
    "ccc": "CCC",
}

PAIR_CAUTION = (
    "Pairs share folds and seeds. They also share training data between folds, so the p values are rather too small."
)
PAIR_NOTE = f"{PAIR_CAUTION} The spread is over folds x seeds. d_z is the mean difference over its standard deviation."

# what Markdown would not show: code, escapes, further cells and lines
_MARKUP = str.maketrans({"\\": "&#92;", "`": "&#96;", "|": "\\|", "\n": " ", "\r": " "})

MODE_WIDTH = 18  # svm-linear compare
_BRIEF = {"accuracy": "WA", "ece": "ECE"}
_IN_TERMINAL = 4  # measures that fit beside mode and interval

Row = Mapping[str, Any]


def measures_of(row: Row) -> list[str]:
    """Return the measures that a row of the result table has, in order."""
    names = [str(name)[: -len("_mean")] for name in row if str(name).endswith("_mean")]
    return [name for name in names if pd.notna(row[f"{name}_mean"])]


def chosen_measure(row: Row, wanted: str) -> str:
    """Return ``wanted`` if the row has it, else what its objective is judged by."""
    there = measures_of(row)
    return wanted if wanted in there else "macro_f1" if "macro_f1" in there else there[0]


def main_measures(row: Row, wanted: str) -> list[str]:
    """Return two measures to show of a row: `chosen_measure`, then UAR or macro F1, whichever is not it."""
    own, there = chosen_measure(row, wanted), measures_of(row)
    others = [name for name in ("uar", "macro_f1", *there) if name in there and name != own]
    return [own, *others[:1]]


def readable(table: pd.DataFrame, *, measure: str) -> list[dict[str, str]]:
    """Format the result table for people: rules, mean ± standard deviation, pooled ``measure`` with its interval."""
    rows = []
    for row in records(table):
        own = chosen_measure(row, measure)
        cells = {"corpus": row["corpus"], "mode": row["mode"]}
        cells |= {
            "target": target(row),
            "label": label(row),
            "normalisation": "none" if pd.isna(row["normalisation"]) else row["normalisation"],
            "folds": f"{row['protocol']}, {row['folds']} x {row['seeds']} seeds",
            "labels used": f"{100 * row['label_fraction']:g} %",
            "pretraining": "none" if pd.isna(row["pretrain_tasks"]) else pretraining(row),
        }
        cells |= {title(name): mean_spread(row[f"{name}_mean"], row[f"{name}_std"]) for name in measures_of(row)}
        cells[f"pooled {title(own)} [interval]"] = number(row[f"pooled_{own}"]) + interval(
            row, f"pooled_{own}", signed=False
        )
        cells["chance"] = number(row["chance"])
        if row["allow_pretrain_speakers"]:
            cells["mode"] += f" ({_allowed(row)})"
        rows.append(cells)
    return rows


def brief(rows: Sequence[Row], *, measure: str) -> list[dict[str, str]]:
    """One corpus for a terminal of 80 columns: mean±deviation of four measures, interval of the pooled ``measure``."""
    own = chosen_measure(rows[0], measure)
    result = []
    for row in rows:
        names = [name for name in measures_of(row) if name not in ("macro_precision", "accuracy")]
        names = measures_of(row) if len(measures_of(row)) <= _IN_TERMINAL else names[:_IN_TERMINAL]
        cells = {"mode": row["mode"][:MODE_WIDTH]}
        cells |= {
            _BRIEF.get(name, title(name)): mean_spread(row[f"{name}_mean"], row[f"{name}_std"], between="±")
            for name in names
        }
        cells["pooled"] = number(row[f"pooled_{own}"])
        low, high = number(row[f"pooled_{own}_low"], 2), number(row[f"pooled_{own}_high"], 2)
        cells["interval"] = " to ".join((low, high)) if low.startswith("-") else f"{low}-{high}"
        result.append(cells)
    return result


def rules_line(rows: Sequence[Row]) -> str:
    """Say in one sentence under which rules the rows of a corpus were measured."""
    row = rows[0]
    normalised = dict.fromkeys(each["normalisation"] for each in rows if pd.notna(each["normalisation"]))
    pieces = [
        f"{row['corpus']}: {target(row)}",
        f"label {label(row)}",
        f"normalisation {' / '.join(normalised)}",
        f"{row['protocol']}, {row['folds']} x {row['seeds']} seeds",
        f"{100 * row['label_fraction']:g} % of the training labels",
        f"chance {number(row['chance'])}",
    ]
    for each in rows:
        if pd.notna(each["pretrain_tasks"]):
            pieces.append(f"pretraining {pretraining(each)}")
            break
    if row["allow_pretrain_speakers"]:
        most = max(rows, key=lambda each: each["pretrain_speakers_in_test"])
        pieces.append(_allowed(most).upper())
    return "; ".join(pieces)


def pretraining(row: Row) -> str:
    """Name pretext tasks and what was carried over."""
    return f"tasks {row['pretrain_tasks']}, transfer {row['transfer']}"


def target(row: Row) -> str:
    """Name target, objective and number of classes."""
    classes = f", {row['n_classes']} classes" if row["n_classes"] else ""
    kind = "" if row["objective"] == "hard" else f" ({row['objective']})"
    return f"{row['target']}{kind}{classes}"


def label(row: Row) -> str:
    """Name label source and rule.

    >>> label({"label_source": "voice", "label_rule": "majority"}), label({"label_source": None, "label_rule": None})
    ('voice, majority', 'source not stated')
    """
    stated = [row[name] for name in ("label_source", "label_rule") if pd.notna(row[name]) and row[name]]
    if pd.isna(row["label_source"]) or not row["label_source"]:
        stated = ["source not stated", *stated]
    return ", ".join(stated)


def paired_line(row: Row) -> str:
    """Put the comparison of a mode with scratch into words."""
    tests = ", ".join(
        f"{name} {p_value(row[key])}" for key, name in (("p_t_test", "t-test"), ("p_wilcoxon", "Wilcoxon"))
    )
    effect: str = "" if pd.isna(row["cohens_dz"]) else f", d_z {number(row['cohens_dz'], 2, signed=True)}"
    relative: str = "" if pd.isna(row["relative_gain"]) else f" ({percent(row['relative_gain'])})"
    return (
        f"{row['corpus']}: {row['mode']} - scratch, {title(row['measure'])}: {_difference(row)}{relative} over "
        f"{row['n']} pairs{effect}; {tests}: {row['verdict']}"
    )


def paired_rows(paired: pd.DataFrame) -> list[dict[str, str]]:
    """Format every comparison for people."""
    return [
        {
            "corpus": row["corpus"],
            "mode - scratch": row["mode"],
            "measure": title(row["measure"]),
            "difference": _difference(row),
            "relative": percent(row["relative_gain"]),
            "pairs": str(row["n"]),
            "d_z": number(row["cohens_dz"], 2, signed=True),
            "t-test p": bare_p(row["p_t_test"]),
            "Wilcoxon p": bare_p(row["p_wilcoxon"]),
            "pooled difference over speakers": interval(row, "difference").strip(),
            "random subsets p, two-sided": bare_p(row["p_subsets"]),
            "one-sided": bare_p(row["p_subsets_one_sided"]),
            "verdict": row["verdict"],
        }
        for row in records(paired)
    ]


def _difference(row: Row) -> str:
    return f"{number(row['mean_difference'], signed=True)} ± {number(row['std_difference'])}"


def _allowed(row: Row) -> str:
    return f"pretraining speakers allowed in test folds; {row['pretrain_speakers_in_test']} there"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def interval(row: Row, name: str, *, signed: bool = True) -> str:
    """Format ``<name>_low`` and ``<name>_high`` with a space before; nothing where there is no interval."""
    shown = bounds(row[f"{name}_low"], row[f"{name}_high"], signed=signed)
    return f" {shown}" if shown else ""


def brief_comparison(row: Row, *, reference: str) -> dict[str, str]:
    """Format the score of a row and its difference to a reference for a terminal of 80 columns: cells by heading."""
    own = row["measure"]
    compared = not pd.isna(row["difference"])
    return {
        title(own): mean_spread(row[f"{own}_mean"], row[f"{own}_std"], between="±"),
        f"minus {reference}": number(row["difference"], signed=True) + interval(row, "pairs") if compared else "",
        "Holm p": number(row["p_holm"]),
    }


def paired_cells(row: Row) -> dict[str, str]:
    """Format what the paired tests say of a row of the ablation's tables: cells by heading."""
    return {
        "relative": percent(row["relative_gain"]),
        "d_z": number(row["cohens_dz"], 2, signed=True),
        "pairs": str(int(row["pairs"])),
        "folds": interval(row, "folds").strip(),
        "p": bare_p(row["p"]),
        "Holm": bare_p(row["p_holm"]),
        "": row["conclusion"],
    }


def synthetic_banner(corpora: set[str]) -> str:
    """Return the warning that belongs with every number from generated data; empty for real corpora.

    >>> synthetic_banner({"synthetic_talk", "synthetic_emotion"})
    'SYNTHETIC: generated demonstration data. These numbers say nothing about real speech.'
    >>> synthetic_banner({"emodb"})
    ''
    """
    generated = sorted(name for name in corpora if name.lower().startswith("synthetic"))
    if not generated:
        return ""
    if len(generated) == len(corpora):
        return "SYNTHETIC: generated demonstration data. These numbers say nothing about real speech."
    return f"SYNTHETIC in part: {', '.join(generated)} is generated demonstration data."


def markdown_table(rows: list[dict[str, Any]]) -> list[str]:
    """Lay rows out as the lines of a Markdown table; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns), *([str(row.get(name, "")) for name in columns] for row in rows)]
    return ["| " + " | ".join(plain(cell) for cell in line) + " |" for line in lines]


def plain(text: object) -> str:
    """Return text that Markdown shows as it is: names come from other people's files.

    >>> plain("<script>alert(1)</script>"), plain("p < .001, share > 1/K")
    ('&lt;script&gt;alert(1)&lt;/script&gt;', 'p < .001, share > 1/K')
    """
    shown = re.sub(r"&(?=[#\w]+;)", "&amp;", str(text))
    shown = re.sub(r"<(?=\S)", "&lt;", shown)
    shown = re.sub(r"(?<=\S)>", "&gt;", shown)
    return shown.translate(_MARKUP).replace("](", "]&#40;")


def title(measure: str) -> str:
    """Return a measure's name for people.

    >>> title("uar"), title("ccc_arousal")
    ('UAR', 'CCC arousal')
    """
    return _TITLES.get(measure) or measure.replace("ccc_", "CCC ")
