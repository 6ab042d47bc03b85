"""From single runs to the tables: means, spread, intervals, tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.errors import InputError
from trainer.evaluation.pooled import Pooled
from trainer.evaluation.significance import ENOUGH_PAIRS, holm, mean_interval, paired_test, subset_test
from trainer.objectives.base import LOWER_IS_BETTER
from trainer.objectives.metrics import spread
from trainer.params import ReportParams
from trainer.store import read_table

MODE_ORDER = {"scratch": 0, "pretrained": 1, "frozen": 2, "student": 3, "ensemble": 4}
# columns that say under which rules a number was measured; constant within a corpus and mode
RULES = (
    "target",
    "objective",
    "label_source",
    "label_rule",
    "n_classes",
    "normalisation",
    "protocol",
    "label_fraction",
    "penalty",
    "clustering",
    "auxiliary",
    "self_training",
    "pretrain_tasks",
    "transfer",
    "allow_pretrain_speakers",
)

# columns of a comparison with a reference, and the values of a paired test in them
_COMPARISON = {
    "pairs": "n",
    "difference": "mean_difference",
    "difference_std": "std_difference",
    "speakers_low": "difference_low",
    "speakers_high": "difference_high",
    "relative_gain": "relative_gain",
    "cohens_dz": "cohens_dz",
    "p": "p_t_test",
    "p_wilcoxon": "p_wilcoxon",
    "p_folds": "p_folds",
    "pretrainings": "pretrainings",
    "pretrainings_mean": "pretrainings_mean",
    "p_pretrainings": "p_pretrainings",
}


def modes_in_order(modes: pd.Series[str]) -> list[str]:
    """Return the distinct modes: those of fine-tuning first, others by name."""
    return sorted(set(modes), key=lambda mode: (MODE_ORDER.get(mode, len(MODE_ORDER)), mode))


def pool(runs: pd.DataFrame, predictions: pd.DataFrame, *, params: ReportParams) -> dict[str, Pooled]:
    """Pooled predictions of every corpus."""
    return {
        str(corpus): Pooled.of(
            predictions[predictions["corpus"] == corpus], kind=group["objective"].iloc[0], params=params
        )
        for corpus, group in runs.groupby("corpus", sort=True)
    }


def result_table(runs: pd.DataFrame, pooled: dict[str, Pooled], *, params: ReportParams) -> pd.DataFrame:
    """One row per corpus and mode: rules, mean and standard deviation over folds x seeds, chance, pooled measures.

    ``pooled_*`` are taken over all folds' test predictions together, once a seed, then averaged: what papers report
    who count each utterance once; ``*_low`` and ``*_high`` bound them over resampled speakers.
    """
    rows = []
    for corpus, everything in pooled.items():
        for mode in modes_in_order(runs[runs["corpus"] == corpus]["mode"]):
            group = runs[(runs["corpus"] == corpus) & (runs["mode"] == mode)]
            row: dict[str, Any] = {"corpus": corpus, "mode": mode}
            row |= {name: group[name].iloc[0] for name in (*RULES, "train_rows") if name in group}  # rows: of baselines
            row |= {"folds": group["fold"].nunique(), "seeds": group["seed"].nunique()}
            values, bounds = everything.measures(mode), everything.intervals(mode, params=params)
            for measure in everything.objective.shown:
                row |= {f"{measure}_{name}": value for name, value in spread(group[measure].dropna().tolist()).items()}
                row[f"pooled_{measure}"] = values[measure]
                row[f"pooled_{measure}_low"], row[f"pooled_{measure}_high"] = bounds[measure] or (None, None)
            row["chance"] = float(group["chance"].mean())
            row["pretrain_speakers_in_test"] = int(group["pretrain_speakers_in_test"].sum())
            rows.append(row)
    return pd.DataFrame(rows)


def class_table(pooled: dict[str, Pooled]) -> pd.DataFrame:
    """Recall, precision and F1 of every class over all folds' predictions, mean over seeds; a row a class and mode."""
    parts = [
        everything.per_class(mode).assign(corpus=corpus, mode=mode)
        for corpus, everything in pooled.items()
        for mode in everything.speakers
    ]
    columns = ["corpus", "mode", "class", "n", "recall", "precision", "f1"]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def paired_table(
    runs: pd.DataFrame, pooled: dict[str, Pooled], *, params: ReportParams, against: str = "scratch"
) -> pd.DataFrame:
    """Every other mode against one, scratch: one row per corpus, mode and measure.

    Five answers to "is it luck": the paired test over the same folds and seeds (`paired_test`); ``p_folds``, the same
    with the mean of each fold as one value, since seeds are no other people; ``p_pretrainings``, the same with the mean
    of each pretrained model as one value, since all that starts from one shares its luck; the interval of the
    pooled difference over resampled speakers (``difference_low``, ``difference_high``); and the papers' test over
    random subsets of the pooled test set (`subset_test`), which is optimistic.
    """
    rows = []
    for corpus, everything in pooled.items():
        group = runs[runs["corpus"] == corpus]
        modes = modes_in_order(group["mode"])
        for mode in (mode for mode in modes if against in modes and mode != against):
            bounds = everything.intervals(mode, params=params, minus=against)
            for measure in everything.objective.shown:
                pairs = group.pivot_table(index=["fold", "seed"], columns="mode", values=measure)
                pairs = pairs[[mode, against]].dropna()
                if pairs.empty:  # a system that was not run on the same folds and seeds
                    continue
                lower = measure in LOWER_IS_BETTER
                low, high = bounds[measure] or (None, None)
                rows.append(
                    {
                        **{"corpus": corpus, "mode": mode, "measure": measure},
                        **paired_test(pairs[mode], pairs[against], alpha=params.alpha, lower_is_better=lower),
                        **{"difference_low": low, "difference_high": high},
                        **over_folds(pairs[mode], pairs[against]),
                        **over_pretrainings(pairs[mode], pairs[against], parents_of(group, mode)),
                        **subset_test(
                            everything.subset_scores(mode, measure),
                            everything.subset_scores(against, measure),
                            lower_is_better=lower,
                        ),
                    }
                )
    columns = ["corpus", "mode", "measure"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def over_folds(better: pd.Series[float], baseline: pd.Series[float]) -> dict[str, Any]:
    """Compare two systems with folds as units: ``folds``, ``folds_mean`` and ``_std`` of the differences, ``p_folds``.

    Seeds are no other people: the mean difference of a fold over its seeds is one value. Both are indexed by fold and
    seed.
    """
    means = [values.groupby(level="fold").mean() for values in (better, baseline)]
    test = paired_test(*means)
    return _units("folds", test)


def _units(name: str, test: Mapping[str, Any]) -> dict[str, Any]:
    """Name what a test over units found; where they have unequally many pairs their mean is not that of the pairs."""
    found = {"": "n", "_mean": "mean_difference", "_std": "std_difference"}
    return {**{f"{name}{end}": test[key] for end, key in found.items()}, f"p_{name}": test["p_t_test"]}


def parents_of(runs: pd.DataFrame, mode: str) -> pd.Series[Any]:
    """Return the model that each run of a mode started from, by fold and seed; none where it started from nothing."""
    if "parent" not in runs:
        return pd.Series([], dtype=object)
    own = runs[runs["mode"] == mode].drop_duplicates(["fold", "seed"])  # shares of the labels have it in common
    return own.set_index(["fold", "seed"])["parent"].dropna()


def over_pretrainings(better: pd.Series[float], baseline: pd.Series[float], parents: pd.Series[Any]) -> dict[str, Any]:
    """Compare two systems with pretrained models as units; nothing where the first starts from none.

    Every run that starts from one pretrained model shares its luck, which more seeds of fine-tuning do not average
    out: the mean difference of a model over its folds and seeds is one value.

    Args:
        better: by fold and seed.
        baseline: likewise.
        parents: of `parents_of`, of ``better``.

    Returns:
        ``pretrainings``, their number; ``pretrainings_mean`` and ``_std`` of the differences; ``p_pretrainings``.
    """
    if parents.empty:
        return {}
    own = parents.reindex(better.index)
    test = paired_test(*(values.groupby(own).mean() for values in (better, baseline)))
    return _units("pretrainings", test)


def comparison_columns(test: Mapping[str, Any] | None, *, confidence: float) -> dict[str, Any]:
    """Put a paired test into the columns of a table that compares rows with a reference.

    Args:
        test: of `paired_test`, or a row of `paired_table`; without one every column is None.
        confidence: of Student's intervals over the pairs, ``pairs_low`` and ``pairs_high``, over the folds and over the
            pretrained models.
    """
    columns = {name: (test or {}).get(key) for name, key in _COMPARISON.items() if test is None or key in test}
    units = [("pairs", "mean_difference", "std_difference", "n")]
    units += [(name, f"{name}_mean", f"{name}_std", name) for name in ("folds", "pretrainings")]
    for name, mean, deviation, count in units:
        bounds = None
        if test is not None and not pd.isna(test.get(deviation)):
            bounds = mean_interval(test[mean], test[deviation], int(test[count]), confidence=confidence)
        columns[f"{name}_low"], columns[f"{name}_high"] = bounds or (None, None)
    return columns


def with_conclusions(table: pd.DataFrame, *, alpha: float, within: str | None = None) -> pd.DataFrame:
    """Add ``p_holm``, corrected over all rows or those of equal ``within``, and the ``conclusion`` that follows."""
    p = table["p"].astype(float)
    table["p_holm"] = holm(p) if within is None else p.groupby(table[within]).transform(lambda group: holm(group))
    table["conclusion"] = [conclusion(row, alpha=alpha) for row in table.to_dict("records")]
    return table


def conclusion(row: Mapping[Any, Any], *, alpha: float) -> str:
    """Say what a row shows, after correction for the number of comparisons; the reference itself shows nothing.

    >>> conclusion({"pairs": 24, "p_holm": 0.01, "difference": -0.02, "measure": "uar"}, alpha=0.05)
    'worse'
    >>> conclusion({"pairs": 4, "p_holm": 0.01, "difference": 0.02, "measure": "uar"}, alpha=0.05)
    'too few pairs'
    """
    if pd.isna(row["pairs"]):
        return ""
    if row["pairs"] < ENOUGH_PAIRS:
        return "too few pairs"
    if pd.isna(row["p_holm"]) or row["p_holm"] >= alpha:
        return "no difference shown"
    return "better" if (row["difference"] > 0) != (row["measure"] in LOWER_IS_BETTER) else "worse"


def with_baselines(reports: Path, runs: pd.DataFrame, predictions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Append the runs and predictions of the baselines, if there are any under ``reports``.

    Baselines answer with one class or with attributes: with the objectives of votes they are left out.

    Raises:
        InputError: the baselines tested other utterances or folds: such numbers must not share a table.
    """
    try:
        baselines = read_table(reports / "baselines_runs.parquet")
        answers = read_table(reports / "baselines_predictions.parquet")
    except FileNotFoundError:
        return runs, predictions
    if baselines.empty or set(runs["objective"]) != set(baselines["objective"]):
        return runs, predictions
    tested = [set(table[["corpus", "fold", "segment_id"]].itertuples(index=False)) for table in (predictions, answers)]
    if tested[0] != tested[1]:
        raise InputError(
            f"{reports}: the baselines tested other utterances or folds than finetune: run `python -m trainer "
            "baselines` again, or delete its tables"
        )
    return pd.concat([runs, baselines], ignore_index=True), pd.concat([predictions, answers], ignore_index=True)
