"""What was found, in words: no more than the paired tests show after correction for their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd

from trainer.evaluation.tables import comparison_columns, with_conclusions
from trainer.params import ReportParams
from trainer.params.training import Baseline
from trainer.report.formatting import chosen_measure, records, title
from trainer.report.numbers import bare_p, bounds, number, p_value

SCRATCH = "scratch"
_SHOWN = {
    "better": "better than from scratch",
    "worse": "worse than from scratch",
    "too few pairs": "too few pairs to tell",
    "no difference shown": "no difference shown",
}


@dataclass(frozen=True)
class Finding:
    """One network against the one from scratch, in one measure.

    ``row`` has the columns of `comparison_columns` beside corpus, mode, measure, ``p_holm`` and ``conclusion``.
    """

    corpus: str
    who: str  # what changed the measure, e.g. "pretraining on talk"
    conclusion: str
    row: dict[str, Any]

    def sentence(self) -> str:
        """Say what changed, by how much, how surely, and what follows."""
        row = self.row
        change = f"{number(row['difference'], signed=True)}"
        interval = bounds(row["pairs_low"], row["pairs_high"], signed=True)
        pairs = f"{row['pairs']:.0f} pair" + ("s" if row["pairs"] != 1 else "")
        if self.conclusion != "too few pairs":
            pairs += f", {p_value(row['p_holm'])}" + (" after correction" if row["p_holm"] > row["p"] else "")
        return (
            f"{capital(self.who)} changed {title(row['measure'])} on {self.corpus} by "
            f"{' '.join(filter(None, (change, interval)))} over {pairs}: {_SHOWN[self.conclusion]}."
        )

    def cells(self) -> dict[str, str]:
        """Format the comparison as a row of the page's table "is it luck"."""
        row = self.row
        change = f"{number(row['difference'], signed=True)} {bounds(row['pairs_low'], row['pairs_high'], signed=True)}"
        return {
            "against scratch": str(row["mode"]),
            f"{title(row['measure'])}, trained again": change.strip(),
            "with other speakers": bounds(row["speakers_low"], row["speakers_high"], signed=True) or "-",
            "p": bare_p(row["p_holm"]),
            "what follows": self.conclusion,
        }


def capital(text: str) -> str:
    """Begin a sentence with a capital letter."""
    return text[:1].upper() + text[1:]


def is_baseline(mode: str) -> bool:
    """Say whether a mode is a simple recogniser without a network.

    >>> is_baseline("svm-rbf compare"), is_baseline("pretrained")
    (True, False)
    """
    return mode.split(" ")[0] in get_args(Baseline)


def networks(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the result table, or of the paired tests, that are networks."""
    return table[~table["mode"].astype(str).map(is_baseline).astype(bool)]


def main_mode(modes: Sequence[str]) -> str:
    """Return the mode that a result is about: the first that is not from scratch, if there is one."""
    return next((mode for mode in modes if mode != SCRATCH), modes[0])


def findings(
    table: pd.DataFrame, paired: pd.DataFrame, params: ReportParams, *, pretrained_on: Sequence[str] = ()
) -> list[Finding]:
    """Compare every network with the one from scratch, in the measure that ``params`` names or the objective's own.

    The p values are those of the paired t-test, corrected over all comparisons (Holm).

    Args:
        table: the result table.
        paired: the paired tests.
        params: measure, level of significance, confidence.
        pretrained_on: corpora of pretraining, for the sentences.
    """
    rows = []
    for result in records(table):
        measure = chosen_measure(result, params.measure)
        chosen = (paired["corpus"] == result["corpus"]) & (paired["mode"] == result["mode"])
        for test in records(paired[chosen & (paired["measure"] == measure)]):
            if not is_baseline(result["mode"]):
                identity = {"corpus": result["corpus"], "mode": result["mode"], "measure": measure}
                rows.append(identity | comparison_columns(test, confidence=params.confidence))
    if not rows:
        return []
    compared = with_conclusions(pd.DataFrame(rows), alpha=params.alpha)
    return [
        Finding(str(row["corpus"]), _who(str(row["mode"]), pretrained_on), row["conclusion"], row)
        for row in records(compared)
    ]


def headline(found: Sequence[Finding], table: pd.DataFrame, params: ReportParams) -> str:
    """Put all findings into one sentence; without a comparison, what the networks reach."""
    if len(found) == 1:
        return found[0].sentence()
    if found:
        groups: dict[str, dict[str, list[str]]] = {}
        for finding in found:
            groups.setdefault(finding.conclusion, {}).setdefault(_who(str(finding.row["mode"]), ()), []).append(
                finding.corpus
            )
        parts = [
            f"{_SHOWN[conclusion]} for " + _and(f"{who} on {_and(corpora)}" for who, corpora in of.items())
            for conclusion, of in groups.items()
        ]
        return f"Against training from scratch, in {_and(_measures(found))}: {'; '.join(parts)}."
    reached = [
        f"{title(own)} {number(row[f'{own}_mean'])} on {row['corpus']} (chance {number(row['chance'])})"
        for row in records(networks(table))
        for own in [chosen_measure(row, params.measure)]
    ]
    return f"A network that hears speech alone reaches {_and(reached)}; nothing was compared with it."


def _measures(found: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(title(finding.row["measure"]) for finding in found))


def _who(mode: str, pretrained_on: Sequence[str]) -> str:
    on = f" on {_and(pretrained_on)}" if pretrained_on else ""
    words = {
        "pretrained": f"pretraining{on}",
        "frozen": f"pretraining{on} with a frozen encoder",
        "student": "self-training by faces and networks",
        "ensemble": "the mean of several networks",
    }
    return words.get(mode, mode)


def _and(names: Iterable[str]) -> str:
    """Join names as in a sentence.

    >>> _and(["a"]), _and(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
