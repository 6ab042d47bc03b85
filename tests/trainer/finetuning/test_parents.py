"""Films of labelled speakers: each fold starts from a model that has neither heard nor seen those whom it tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.conftest import TRACKS, dense_rows, labelled_rows, unlabelled_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.finetuning.parents import Parents, left_out
from trainer.finetuning.pretrainings import pretrain_all
from trainer.models.checkpoint import load_model
from trainer.params import Params

Make = Callable[..., Path]
Tiny = Callable[..., Params]
EVERYONE = ("a", "b", "c", "d", "e", "f")


def _films(**change: Any) -> list[dict[str, Any]]:
    """Films of six labelled speakers and of four others; ``change`` sets columns of speaker a's rows."""
    own = unlabelled_rows("toy", speakers=EVERYONE, seed=4)
    others = unlabelled_rows("talk", seed=5)
    return [{**row, **change} if (row["corpus"], row["speaker"]) == ("toy", "a") else row for row in own + others]


def test_every_fold_leaves_out_those_whom_it_tests_and_nobody_else(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    films, labelled = make_shards("films", _films()), make_shards("labelled", labelled_rows())
    params = tiny(pretrain={"epochs": 1}, finetune={"epochs": 1, "modes": ["scratch", "pretrained"]})
    cache = tmp_path / "cache"
    steps: list[int] = []
    pretrain_all(films, tmp_path / "p", params, labelled=labelled, cache=cache, workers=2, on_start=steps.append)
    assert steps == [4]  # all films, and three folds
    parents = Parents.read(tmp_path / "p")
    assert {f"toy/{name}" for name in EVERYONE} < parents.everyone.speakers
    assert len(parents.folds) == 3
    table = finetune(labelled, tmp_path / "p", tmp_path / "m", tmp_path / "r", params, cache=cache)
    assert set(table["pretrain_speakers_in_test"]) == {0}
    index = json.loads((tmp_path / "p" / "folds" / "index.json").read_text())
    assert sorted(name for entry in index for name in entry["without"]) == [f"toy/{name}" for name in EVERYONE]
    for entry in index:
        config = load_model(tmp_path / "p" / "folds" / entry["folder"]).config
        assert set(config["without"]) == set(entry["without"])
        assert set(config["speakers"]) == parents.everyone.speakers - set(entry["without"])
    pretrain_all(films, tmp_path / "p", params, labelled=labelled, cache=cache, on_start=steps.append)
    assert steps[1] == 0  # all are kept


def test_a_tested_speaker_changes_nothing_in_the_model_of_the_fold(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    """Neither sound, nor labels, nor the statistics that thresholds are fitted on."""
    labelled = make_shards("labelled", labelled_rows())
    params = tiny(pretrain={"epochs": 2, "tasks": [1, 2, 3]})
    changes = [{}, {"t1_label": "high", "t1_stat": 9.0, "t2_stat": -1e6, "t2_label": "low", "t3_label": "anger"}]
    for number, change in enumerate(changes):
        films = make_shards(f"films{number}", _films(**change))
        pretrain_all(films, tmp_path / f"p{number}", params, labelled=labelled, cache=tmp_path / "cache")
    same = {}
    for entry in json.loads((tmp_path / "p0" / "folds" / "index.json").read_text()):
        weights = [tmp_path / f"p{number}" / "folds" / entry["folder"] / "model.safetensors" for number in (0, 1)]
        same["toy/a" in entry["without"]] = weights[0].read_bytes() == weights[1].read_bytes()
    assert same == {True: True, False: False}


def test_without_models_a_fold_the_test_is_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    films, labelled = make_shards("films", _films()), make_shards("labelled", labelled_rows())
    options = {"epochs": 1, "modes": ["pretrained"]}
    params = tiny(pretrain={"epochs": 1, "per_fold": False}, finetune=options)
    pretrain_all(films, tmp_path / "p", params, labelled=labelled, cache=tmp_path / "cache")
    places = (labelled, tmp_path / "p", tmp_path / "m", tmp_path / "r")
    with pytest.raises(InputError, match=r"test speaker\(s\) toy/. were heard.*pretrain.per_fold|toy/., toy/."):
        finetune(*places, params, cache=tmp_path / "cache")
    allowed = tiny(pretrain={"epochs": 1}, finetune={**options, "allow_pretrain_speakers": True})
    table = finetune(*places, allowed, cache=tmp_path / "cache")
    assert set(table["pretrain_speakers_in_test"]) == {2}


def test_other_folds_than_those_of_pretraining_are_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    films, labelled = make_shards("films", _films()), make_shards("labelled", labelled_rows())
    params = tiny(pretrain={"epochs": 1}, finetune={"folds": 3, "modes": ["pretrained"]})
    pretrain_all(films, tmp_path / "p", params, labelled=labelled, cache=tmp_path / "cache")
    other = tiny(finetune={"folds": "loso", "modes": ["pretrained"]})
    with pytest.raises(InputError, match=r"run pretrain again with pretrain.per_fold"):
        finetune(labelled, tmp_path / "p", tmp_path / "m", tmp_path / "r", other, cache=tmp_path / "cache")


def test_only_the_chosen_corpora_teach(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    films = open_shards(make_shards("films", _films()), cache=tmp_path / "cache")
    labelled = open_shards(make_shards("labelled", labelled_rows()), cache=tmp_path / "cache")
    own, foreign = (tiny(pretrain={"corpora": [name]}) for name in ("toy", "talk"))
    assert len(left_out(labelled, films, own.finetune, own.pretrain)) == 3
    assert left_out(labelled, films, foreign.finetune, foreign.pretrain) == {}
    with pytest.raises(InputError, match=r"pretrain.corpora names tolk; .* holds talk, toy"):
        left_out(labelled, films, own.finetune, tiny(pretrain={"corpora": ["tolk"]}).pretrain)


def test_the_tasks_of_pretraining_go_on_without_the_tested_speakers(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    rows = dense_rows(corpus="toy", speakers=EVERYONE)
    films = make_shards("films", rows, dense=TRACKS)
    labelled = make_shards("labelled", labelled_rows())
    options = {"epochs": 1, "modes": ["pretrained"], "auxiliary": {"weight": 1.0}}
    params = tiny(pretrain={"epochs": 1, "tasks": [], "dense": ["aus"], "monitor": "last"}, finetune=options)
    cache = tmp_path / "cache"
    pretrain_all(films, tmp_path / "p", params, labelled=labelled, cache=cache)
    table = finetune(labelled, tmp_path / "p", tmp_path / "m", tmp_path / "r", params, unlabelled=films, cache=cache)
    assert set(table["pretrain_speakers_in_test"]) == {0}
    assert table["n_unlabelled"].max() < len(rows) * 2 / 3 + 1
