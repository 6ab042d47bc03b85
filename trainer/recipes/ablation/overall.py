"""One answer over all shares of the labels: the ablation's cells that differ in nothing else, averaged pair by pair."""

from __future__ import annotations

from typing import Any

import pandas as pd

from trainer.evaluation.shares import percentages
from trainer.evaluation.significance import paired_test
from trainer.evaluation.tables import comparison_columns, over_folds, over_pretrainings, parents_of, with_conclusions
from trainer.objectives.base import LOWER_IS_BETTER
from trainer.params import ReportParams
from trainer.report.formatting import interval, paired_cells, title
from trainer.report.numbers import number

CELL = ["part", "corpus", "variant", "tasks", "mode", "unlabelled_fraction"]
PAIR = ["fold", "seed"]


def overall(runs: pd.DataFrame, table: pd.DataFrame, params: ReportParams) -> pd.DataFrame:
    """Compare corpora, variants, task sets, modes and amounts of speech that have several shares of the labels.

    A pair is a fold and a seed; its difference to scratch is averaged over the shares before anything is tested, since
    the runs of one seed and fold share test speakers and training labels. ``p_holm`` corrects over the rows of a part.

    Args:
        runs: every training, as in ablation_runs.
        table: the ablation's, which names the measure of each corpus.
        params: level of the tests and confidence of the intervals.

    Returns:
        A row each, empty where no cell has two shares.
    """
    measures = dict(table.groupby("corpus")["measure"].first())
    rows: list[dict[str, Any]] = []
    for identity, group in runs[runs["tasks"] != "none"].groupby(CELL, sort=False):
        shares = sorted(set(group["label_fraction"]))
        if len(shares) < 2:
            continue
        cell = dict(zip(CELL, identity, strict=True))
        measure = measures[cell["corpus"]]
        scratch = runs[(runs["tasks"] == "none") & (runs["part"] == cell["part"])]
        scratch = scratch[[cell["variant"] in names.split(", ") for names in scratch["variant"]]]
        scratch = scratch[(scratch["corpus"] == cell["corpus"]) & scratch["label_fraction"].isin(shares)]
        # a pair counts where every share of it is there
        means = [
            part.pivot_table(index=PAIR, columns="label_fraction", values=measure).dropna().mean(axis=1)
            for part in (group, scratch)
        ]
        both = pd.concat(means, axis=1, keys=["cell", "scratch"], join="inner")
        lower = measure in LOWER_IS_BETTER
        test = paired_test(both["cell"], both["scratch"], alpha=params.alpha, lower_is_better=lower)
        test |= over_folds(both["cell"], both["scratch"])
        test |= over_pretrainings(both["cell"], both["scratch"], parents_of(group, str(cell["mode"])))
        rows.append(
            {
                **cell,
                "label_fractions": percentages(set(shares)),
                "measure": measure,
                "scratch_mean": float(both["scratch"].mean()),
                **comparison_columns(test, confidence=params.confidence),
            }
        )
    if not rows:
        return pd.DataFrame(columns=[*CELL, "p"])
    return with_conclusions(pd.DataFrame(rows), alpha=params.alpha, within="part")


def readable(row: dict[str, Any]) -> dict[str, str]:
    """Format a row for people."""
    return {
        **{name: str(row[name]) for name in ("corpus", "variant", "tasks", "mode")},
        "unlabelled": f"{100 * row['unlabelled_fraction']:g} %",
        "labels": row["label_fractions"],
        f"scratch {title(row['measure'])}": number(row["scratch_mean"]),
        "difference": number(row["difference"], signed=True) + interval(row, "pairs"),
        **paired_cells(row),
    }
