"""All folds' test predictions of a corpus together: measures, intervals over speakers, random subsets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.evaluation.significance import percentile_interval, random_subsets, resampled_speakers
from trainer.objectives import OBJECTIVES, Objective
from trainer.objectives.metrics import Array
from trainer.params import ReportParams


@dataclass(frozen=True)
class Pooled:
    """One corpus: sums of every mode, (seeds, groups, D), over its speakers and over random subsets of utterances.

    A measure is taken once a seed over all utterances, then averaged over seeds: every utterance counts once, whatever
    the folds. Speakers and subsets are the same ones in every mode.
    """

    objective: Objective
    speakers: Mapping[str, Array]
    subsets: Mapping[str, Array]

    @classmethod
    def of(cls, predictions: pd.DataFrame, *, kind: str, params: ReportParams) -> Pooled:
        """Gather the rows of one corpus out of the prediction table."""
        objective = OBJECTIVES[kind].of_table(predictions)
        ids, utterance = np.unique(predictions["segment_id"].astype(str), return_inverse=True)
        _, speaker = np.unique(predictions["speaker"].astype(str), return_inverse=True)
        subset = random_subsets(len(ids), subsets=params.subsets, seed=params.seed)[utterance]
        sums = objective.sums(*objective.read(predictions))
        seeds = predictions["seed"].to_numpy()
        modes = predictions["mode"].to_numpy()
        by_speaker, by_subset = {}, {}
        for mode in dict.fromkeys(modes):
            chosen = [(modes == mode) & (seeds == seed) for seed in np.unique(seeds[modes == mode])]
            by_speaker[mode], by_subset[mode] = (
                np.stack([_grouped(sums[rows], groups[rows], int(groups.max()) + 1) for rows in chosen])
                for groups in (speaker, subset)
            )
        return cls(objective, by_speaker, by_subset)

    def measures(self, mode: str) -> dict[str, float]:
        """Measures over all utterances, mean over seeds."""
        values = self.objective.measures(self.speakers[mode].sum(axis=1))
        return {name: float(values[name].mean()) for name in self.objective.shown}

    def per_class(self, mode: str) -> pd.DataFrame:
        """One row a class: precision, recall, F1 and number of utterances, mean over seeds; empty without classes."""
        values = self.objective.per_class(self.speakers[mode].sum(axis=1))
        if not values:
            return pd.DataFrame()
        return pd.DataFrame({"class": self.objective.names, **{name: v.mean(axis=0) for name, v in values.items()}})

    def intervals(
        self, mode: str, *, params: ReportParams, minus: str | None = None
    ) -> dict[str, tuple[float, float] | None]:
        """Percentile interval of every measure, or of its difference to mode ``minus``, over resampled speakers.

        The trained models are given; what is resampled is who is tested. None with a single speaker.
        """
        values = self._resampled(mode, params)
        base = self._resampled(minus, params) if minus is not None else None
        return {
            name: percentile_interval(v if base is None else v - base[name], confidence=params.confidence)
            if self.speakers[mode].shape[1] > 1
            else None
            for name, v in values.items()
        }

    def subset_scores(self, mode: str, measure: str) -> Array:
        """Measure in each random subset, mean over seeds: (subsets,)."""
        return self.objective.measures(self.subsets[mode])[measure].mean(axis=0)

    def _resampled(self, mode: str, params: ReportParams) -> dict[str, Array]:
        sums = self.speakers[mode]
        draws = resampled_speakers(sums.shape[1], resamples=params.resamples, seed=params.seed)
        values = self.objective.measures(draws @ sums)
        return {name: values[name].mean(axis=0) for name in self.objective.shown}


def _grouped(rows: Array, groups: IntArray, count: int) -> Array:
    out = np.zeros((count, rows.shape[1]))
    np.add.at(out, groups, rows)
    return out
