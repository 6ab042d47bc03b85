"""Thresholds of the speakers that are left: the pipeline's rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.labels import thresholds
from pipeline.labels.config import Threshold
from tests.trainer.conftest import unlabelled_rows
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.pretraining.thresholds import refitted

Make = Callable[..., Path]


@pytest.fixture
def films(make_shards: Make, tmp_path: Path) -> Callable[..., Shards]:
    """Films of two corpora, one of them small, with random statistics and a rule."""

    def make(**rule: object) -> Shards:
        rng = np.random.default_rng(0)
        rows = unlabelled_rows("talk") + unlabelled_rows("chat", speakers=("m",), per_speaker=6)
        for row in rows:
            row |= {"split": "dev" if row["speaker"] == "x" else "train", "t1_stat": rng.normal()}
        rows[3]["t1_stat"] = None
        return open_shards(make_shards("films", rows, thresholds={"t1_stat": rule}), cache=tmp_path / "cache")

    return make


@pytest.mark.parametrize("scope", ["global", "corpus", "speaker"])
@pytest.mark.parametrize("quantiles", [(0.5, 0.5), (0.3, 0.7)])
def test_labels_are_those_that_the_pipeline_would_give_without_these_speakers(
    films: Callable[..., Shards], scope: str, quantiles: tuple[float, float]
) -> None:
    rule = Threshold(quantiles=quantiles, scope=scope, min_segments=8)  # type: ignore[arg-type]
    shards = films(**rule.model_dump(mode="json"))
    allowed = np.flatnonzero(shards.speakers != "talk/u")
    made = refitted(shards, 1, np.full(len(shards.rows), "", object), allowed)
    left = shards.rows.iloc[allowed].assign(t1_stat=lambda rows: rows["t1_stat"].astype(float))
    wanted = thresholds.apply(left, "t1_stat", thresholds.fit(left, "t1_stat", rule), scope)
    assert made[allowed].tolist() == [label or "" for label in wanted]
    assert set(made[allowed]) >= {"high", "low"}


def test_shards_of_an_older_pipeline_are_refused(films: Callable[..., Shards]) -> None:
    shards = films(quantiles=[0.5, 0.5], scope="corpus", min_segments=8)
    del shards.metadata["thresholds"]
    rows = np.arange(len(shards.rows))
    with pytest.raises(InputError, match=r"carries no t1_stat.*dvc repro shards_unlabelled"):
        refitted(shards, 1, np.full(len(rows), "", object), rows)
    given = np.full(len(rows), "anger", object)
    assert refitted(shards, 3, given, rows) is given  # T3 has no such threshold
