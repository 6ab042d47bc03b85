"""Which classes are recognised, which labels are one, and corpora that train together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tests.trainer.conftest import labelled_rows, rated_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.plan import plan, plan_final
from trainer.params import FinetuneParams, Params
from trainer.params.changes import with_changes

Make = Callable[..., Path]
Tiny = Callable[..., Params]
FOUR = {"anger": ["anger"], "happiness": ["happiness", "excitement"], "sadness": ["sadness"], "neutral": ["neutral"]}
EMOTIONS = ("anger", "excitement", "frustration", "happiness", "neutral", "sadness")


def test_labels_are_merged_and_others_are_none(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    """The four classes that are usual on IEMOCAP: happiness and excitement are one, frustration is left out."""
    folder = make_shards("l", labelled_rows(emotions=EMOTIONS))
    params = tiny(finetune={"modes": ["scratch"], "classes": FOUR})
    merged, plain = (open_labelled(folder, one, cache=tmp_path) for one in (params.finetune, FinetuneParams()))
    before, after = plain.rows["emotion"], merged.rows["emotion"]
    assert after[before == "excitement"].eq("happiness").all()
    assert after[before == "frustration"].isna().all()
    rest = before.isin(["anger", "happiness", "neutral", "sadness"])
    assert after[rest].equals(before[rest])
    runs = plan(merged, params, None)
    assert {run.objective.names for run in runs} == {("anger", "happiness", "neutral", "sadness")}
    used = np.concatenate([np.concatenate([run.train, run.dev, run.test]) for run in runs])
    assert not set(used) & set(np.flatnonzero(before == "frustration"))
    other = plan(plain, tiny(finetune={"modes": ["scratch"]}), None)
    assert not {run.key for run in runs} & {run.key for run in other}
    assert open_labelled(folder, FinetuneParams(), cache=tmp_path).rows.equals(open_shards(folder, cache=tmp_path).rows)


def test_votes_are_added_up_and_others_count_in_the_total(make_shards: Make, tmp_path: Path) -> None:
    folder = make_shards("l", rated_rows())
    votes = FinetuneParams(
        objective="multilabel", target="votes", classes={"up": ["anger", "neutral"], "down": ["sadness"]}
    )
    before, after = open_shards(folder, cache=tmp_path).rows, open_labelled(folder, votes, cache=tmp_path).rows
    names = sorted(name for name in after if name.startswith("votes_"))
    assert names == ["votes_down", "votes_other", "votes_up"]
    assert after["votes_up"].equals(before["votes_anger"] + before["votes_neutral"])
    few = votes.model_copy(update={"classes": {"up": ["anger"], "down": ["sadness"]}})
    left = open_labelled(folder, few, cache=tmp_path).rows["votes_other"]
    assert left.equals(before["votes_other"] + before["votes_neutral"])
    everything = [name for name in before if name.startswith("votes_")]
    pd.testing.assert_series_equal(after[names].sum(axis=1), before[everything].sum(axis=1))


def test_what_cannot_be_is_refused(make_shards: Make, tmp_path: Path, tiny: Tiny) -> None:
    folder = make_shards("l", labelled_rows())
    with pytest.raises(
        InputError, match=r"finetune\.classes names excited, which no row is labelled with .*anger, neutral, sadness"
    ):
        open_labelled(folder, FinetuneParams(classes={"a": ["excited"], "b": ["anger"]}), cache=tmp_path)
    for wrong in ({"a": ["anger"], "b": ["anger"]}, {"a": [], "b": ["anger"]}, {"a": ["anger"]}):
        with pytest.raises(ValidationError, match="classes"):
            FinetuneParams(classes=wrong)
    with pytest.raises(ValidationError, match="joint goes with objective hard"):
        FinetuneParams(joint=True, folds="corpus")
    with pytest.raises(InputError, match=r"finetune\.classes.* is the same for all variants"):
        with_changes(tiny(), {"finetune.classes": FOUR}, where="variants.four")


def test_corpora_that_train_together_are_tested_apart(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows = labelled_rows("one") + labelled_rows("two", emotions=("anger", "fear"), speakers=("a", "b", "c"))
    shards = open_shards(make_shards("l", rows), cache=tmp_path)
    alone, joint = (plan(shards, tiny(finetune={"modes": ["scratch"], "joint": on}), None) for on in (False, True))
    assert [(run.corpus, run.fold) for run in alone] == [(run.corpus, run.fold) for run in joint]
    anger_of_two = set(np.flatnonzero((shards.corpora == "two") & (shards.rows["emotion"] == "anger")))
    for before, after in zip(alone, joint, strict=True):
        assert before.test.tolist() == after.test.tolist()
        assert before.objective.names == after.objective.names
        added = {*after.train, *after.dev} - {*before.train, *before.dev}
        if before.corpus == "one":
            assert added == anger_of_two  # fear is no class of the tested corpus
            assert after.protocol == "3 folds by speaker, trained with two"
        else:
            assert {shards.rows["emotion"].iloc[row] for row in added} == {"anger"}
        assert not set(shards.speakers[after.train]) & set(shards.speakers[after.test])
        assert before.key != after.key
    few = plan(
        shards,
        tiny(finetune={"modes": ["scratch"], "joint": True, "dev": "none", "monitor": "last", "label_fraction": 0.25}),
        None,
    )
    for run in (run for run in few if run.corpus == "one"):
        assert anger_of_two <= set(run.train)
        assert len(run.train) == 12 + len(anger_of_two)  # a quarter of 48, all of the others
    finals = plan_final(shards, tiny(finetune={"joint": True}), None, mode="scratch")
    assert [len(run.train) + len(run.dev) for run in finals] == [72 + 12, 24 + 24]
