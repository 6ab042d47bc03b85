"""Which runs there are, and what is refused before any is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.trainer.conftest import labelled_rows, rated_rows, unlabelled_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.finetuning.plan import plan
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain

Make = Callable[..., Path]
Tiny = Callable[..., Params]


def test_pretraining_speakers_in_a_test_fold_are_refused(run: Callable[..., pd.DataFrame]) -> None:
    rows = labelled_rows("talk", speakers=("u", "q", "r", "s"))
    with pytest.raises(InputError, match=r"test speaker\(s\) talk/u were heard in pretraining"):
        run("home", rows=rows, folds=2)
    runs = run("home", rows=rows, folds=2, allow_pretrain_speakers=True)
    assert runs["allow_pretrain_speakers"].all()
    shared = runs.groupby("mode")["pretrain_speakers_in_test"].sum()
    assert shared.to_dict() == {"pretrained": 1, "scratch": 0}
    run("scratch_only", rows=rows, folds=2, modes=["scratch"])  # there are no pretraining speakers


def test_label_fraction_takes_training_rows_only(run: Callable[..., pd.DataFrame]) -> None:
    full = run("full", modes=["scratch"])
    half = run("half", modes=["scratch"], label_fraction=0.5)
    assert (half["n_train"] == full["n_train"] / 2).all()
    assert half["n_dev"].tolist() == full["n_dev"].tolist()


def test_corpora_keep_their_own_labels(run: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    rows = labelled_rows("one") + labelled_rows("two", emotions=("calm", "fear"))
    rows[0]["emotion"] = None  # an unlabelled row among them
    runs = run("home", rows=rows, modes=["scratch"])
    assert runs.groupby("corpus")["n_classes"].first().to_dict() == {"one": 3, "two": 2}
    table = pd.read_parquet(tmp_path / "home" / "reports" / "predictions.parquet")
    assert table[table["corpus"] == "one"]["p_calm"].isna().all()
    assert rows[0]["segment_id"] not in set(table["segment_id"])


def test_another_encoder_than_the_pretrained_one_is_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    pretrain(make_shards("u", unlabelled_rows()), tmp_path / "p", tiny(pretrain={"epochs": 1}), cache=tmp_path / "c")
    labelled, places = make_shards("l", labelled_rows()), (tmp_path / "p", tmp_path / "m", tmp_path / "r")
    with pytest.raises(InputError, match="chunk_encoder, aggregator differ"):
        finetune(labelled, *places, tiny(encoder={"chunk_encoder": "lstm", "aggregator": "mean"}), cache=tmp_path / "c")
    other = make_shards("other", labelled_rows(), frame_period=0.01)
    with pytest.raises(InputError, match=r"frame period 0.01 s, the model knows 0.05 s"):
        finetune(other, *places, tiny(), cache=tmp_path / "c")
    with pytest.raises(InputError, match="nowhere is no model folder"):
        finetune(labelled, tmp_path / "nowhere", *places[1:], tiny(), cache=tmp_path / "c")


def test_the_penalisation_matrix_hears_every_training_speaker_and_nobody_else(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    """Votes of utterances whose labels are not used count too; those of tested and held-out speakers do not."""
    rows = rated_rows()
    rows[1]["emotion"] = None  # the raters did not agree: no label, but votes
    shards = open_shards(make_shards("rated", rows), cache=tmp_path / "c")
    options = {"label_fraction": 0.25, "penalty": {"form": "printed"}, "modes": ["scratch"]}
    runs = plan(shards, tiny(finetune=options), None)
    for run in runs:
        heard = set(shards.speakers[run.train])
        assert set(run.votes) == set(np.flatnonzero(np.isin(shards.speakers, list(heard))))
        assert len(run.votes) > 3 * len(run.train)
        assert not heard & set(shards.speakers[np.concatenate([run.dev, run.test])])
        assert (1 in run.votes) == (shards.speakers[1] in heard)
    plain = plan(shards, tiny(finetune={**options, "penalty": {}}), None)
    assert not any(len(run.votes) for run in plain)
