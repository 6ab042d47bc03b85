"""What auto means: all labels of real speech, few of generated; a student where the face can teach one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.conftest import TRACKS, labelled_rows
from tests.trainer.finetuning.test_students import films_of
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError, Notice
from trainer.finetuning.decide import decide
from trainer.finetuning.finetune import finetune
from trainer.params import Params, parse_params

Make = Callable[..., Path]
Tiny = Callable[..., Params]


@pytest.fixture
def shards(make_shards: Make, tmp_path: Path) -> Callable[..., Shards]:
    return lambda name, rows, **about: open_shards(make_shards(name, rows, **about), cache=tmp_path / "cache")


def test_generated_speech_is_compared_with_few_labels_and_real_speech_with_all(shards: Callable[..., Shards]) -> None:
    real, generated = shards("r", labelled_rows()), shards("g", labelled_rows("synthetic-labelled"))
    mixed = shards("m", labelled_rows() + labelled_rows("synthetic-labelled"))
    found = [decide(Params(), one).finetune for one in (real, generated, mixed)]
    assert [one.label_fraction for one in found] == [1.0, 0.125, 1.0]
    assert {one.modes for one in found} == {("scratch", "pretrained")}
    given = parse_params({"finetune": {"label_fraction": 0.5, "modes": ["scratch"]}})
    assert decide(given, generated) == given


def test_a_student_is_trained_where_faces_can_teach_one(shards: Callable[..., Shards]) -> None:
    rows = labelled_rows()
    labelled, films = shards("l", rows), shards("f", films_of(rows), dense=TRACKS)
    foreign = shards("o", films_of(labelled_rows("other")), dense=TRACKS)

    def modes(films: Shards, of: Shards = labelled, **tuning: Any) -> Any:
        return decide(parse_params({"finetune": tuning}), of, films).finetune.modes[2:]

    assert modes(films) == ()  # every label is used
    assert modes(films, label_fraction=0.5) == ("student",)
    assert modes(foreign, label_fraction=0.5) == ()
    assert modes(films, label_fraction=0.5, self_training={"face": 0.0}) == ()
    assert modes(films, label_fraction=0.5, label_smoothing=0.1) == ()
    half = labelled_rows()
    for row in half[::2]:
        row["emotion"] = None
    assert modes(films, shards("h", half)) == ("student",)  # utterances without a label are there to be taught


def test_the_usual_command_decides_and_says_so(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows = labelled_rows("synthetic-toy", per_class=8)
    labelled, films = make_shards("labelled", rows), make_shards("films", films_of(rows), dense=TRACKS)
    params = tiny(finetune={"epochs": 1, "dev": "none", "monitor": "last", "folds": 2})
    assert params.finetune.modes == "auto"
    from trainer.finetuning.pretrainings import pretrain_all

    few = params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"tasks": (), "dense": ("aus",)})})
    pretrain_all(films, tmp_path / "p", few, labelled=labelled, cache=tmp_path / "c")
    places = (labelled, tmp_path / "p", tmp_path / "m", tmp_path / "r")
    table = finetune(*places, few, unlabelled=films, cache=tmp_path / "c")
    assert set(table["mode"]) == {"scratch", "pretrained", "student"}
    assert set(table["label_fraction"]) == {0.125}
    assert set(table["self_training"].dropna()) == {"3 networks, face 10"}
    without = finetune(*places, few, unlabelled=tmp_path / "nowhere", cache=tmp_path / "c")
    assert set(without["mode"]) == {"scratch", "pretrained"}


def test_networks_teach_alone_where_no_film_shows_the_labelled(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    labelled = make_shards("labelled", labelled_rows())
    films = make_shards("films", films_of(labelled_rows("other")), dense=TRACKS)
    options = {"epochs": 1, "dev": "none", "monitor": "last", "modes": ["student"], "label_fraction": 0.25}
    places = (labelled, "none", tmp_path / "m", tmp_path / "r")
    with pytest.warns(Notice, match="no film shows a labelled utterance .*: networks alone teach"):
        finetune(*places, tiny(finetune=options), unlabelled=films, cache=tmp_path / "c")
    alone = tiny(finetune={**options, "self_training": {"teachers": 0}})
    with pytest.raises(InputError, match=r"and no networks teach: set self_training\.teachers"):
        finetune(*places, alone, unlabelled=films, cache=tmp_path / "c")
