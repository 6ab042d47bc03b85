"""Who is held out, the whole recipe on toy shards, and that it resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trainer.conftest import unlabelled_rows
from tests.trainer.recipes.orofacial.conftest import ABOUT, NAMES, face_rows, quick
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE, FrameTargets, TrackScale
from trainer.errors import InputError
from trainer.models.checkpoint import load_model
from trainer.params import OrofacialParams, Params
from trainer.predict import predict
from trainer.recipes.orofacial.movement import per_coordinate
from trainer.recipes.orofacial.network import load_face
from trainer.recipes.orofacial.study import emotion_column, orofacial, parts, sentence_keys, shared_sentences
from trainer.training.loop import run_network

Make = Callable[..., Path]


def test_clips_and_speakers_stay_on_one_side(make_shards: Make, tmp_path: Path) -> None:
    rows = face_rows()
    rows[3]["clip_id"] = rows[4]["clip_id"]  # two segments of one clip
    rows[5]["mouth"] = None  # no face was seen
    shards = open_shards(make_shards("faces", rows, **ABOUT), cache=tmp_path / "c")
    options = quick()
    drawn = [parts(shards, options, seed=seed) for seed in range(5)]
    for sides in drawn:
        every = np.concatenate([sides.train, sides.dev, sides.sentences, sides.speakers])
        assert sorted(every) == [number for number in range(len(rows)) if number != 5]
        names = [set(shards.rows["clip_id"].iloc[side]) for side in (sides.train, sides.dev, sides.sentences)]
        assert not names[0] & names[1]
        assert not names[0] & names[2]
        assert not names[1] & names[2]
        assert set(shards.rows["speaker"].iloc[sides.speakers]) == {"d"}
    assert len({tuple(sides.sentences) for sides in drawn}) > 1
    same = parts(shards, options, seed=3)
    assert all(np.array_equal(getattr(same, name), getattr(drawn[3], name)) for name in ("train", "dev", "sentences"))


def test_speakers_with_few_clips_are_held_out(make_shards: Make, tmp_path: Path) -> None:
    rows = [row for row in face_rows() if row["speaker"] != "d"]
    rows = [row for number, row in enumerate(rows) if row["speaker"] != "c" or number % 9 < 2]
    shards = open_shards(make_shards("faces", rows, **ABOUT), cache=tmp_path / "c")
    sides = parts(shards, quick(min_clips=9), seed=0)
    assert set(shards.rows["speaker"].iloc[sides.speakers]) == {"c"}
    assert not len(parts(shards, quick(min_clips=99), seed=0).speakers)  # nobody has so many: everyone trains


def test_shards_that_cannot_do_are_refused(make_shards: Make, tmp_path: Path) -> None:
    plain = open_shards(make_shards("plain", unlabelled_rows()), cache=tmp_path / "c")
    with pytest.raises(InputError, match="no column mouth"):
        parts(plain, OrofacialParams(), seed=0)
    faces = open_shards(make_shards("faces", face_rows(), **ABOUT), cache=tmp_path / "c")
    with pytest.raises(InputError, match="corpora: moon not in"):
        parts(faces, OrofacialParams(corpora=("moon",)), seed=0)
    few = open_shards(make_shards("few", face_rows()[:3], **ABOUT), cache=tmp_path / "c")
    with pytest.raises(InputError, match="3 sentences of speakers to train on"):
        parts(few, OrofacialParams(), seed=0)


def test_the_recipe_learns_compares_and_loads_back(make_shards: Make, tmp_path: Path) -> None:
    folder = make_shards("faces", face_rows(per_speaker=15), **ABOUT)
    cache = tmp_path / "c"
    recipe = quick(tasks=[[], ["viseme", "emotion"]], epochs=6)
    runs = orofacial(folder, tmp_path / "m", tmp_path / "r", Params(), recipe, cache=cache)
    assert list(zip(runs["structure"], runs["tasks"], strict=True)) == [
        (structure, tasks) for structure in ("shared", "branches") for tasks in ("movement", "movement+viseme+emotion")
    ]
    assert (runs["sentences_ccc_opening"] > 0.5).all()  # planted; a face that stands still has 0
    assert runs["sentences_viseme_uar"].dropna().gt(0.7).all()
    assert runs["speakers_emotion_uar"].notna().sum() == 2
    assert runs["sentences_viseme_uar"].notna().sum() == 2
    again = pd.read_parquet(tmp_path / "r" / "orofacial.parquet")
    pd.testing.assert_frame_equal(again, runs, check_dtype=False)
    words = (tmp_path / "r" / "orofacial.md").read_text()
    assert "Minus movement alone" in words
    assert words.count("movement+viseme+emotion |") == 8

    model = tmp_path / "m" / "branches_movement_viseme_emotion"
    loaded = load_face(model)
    metrics = json.loads((model / "metrics.json").read_text())
    assert set(metrics["sentences"]["coordinates"]) == set(NAMES)
    # the model on new shards, as a data set and through predict, against the numbers of training
    shards = open_shards(folder, cache=cache)
    rows = parts(shards, recipe, seed=0).speakers
    told = run_network(loaded.network, loaded.spec.dataset(shards, rows), batch_size=4).logits[DENSE][:, 0].numpy()
    out = tmp_path / "moved.parquet"
    table = predict(folder, model, out, cache=cache)
    pd.testing.assert_series_equal(pd.read_parquet(out)["n_frames"], table["n_frames"])
    for place, row in enumerate(rows):
        n = int(shards.lengths[row])
        moved = table["mouth"].iloc[row].reshape(n, -1)
        np.testing.assert_allclose(moved, loaded.spec.coordinates(told[place, :n]), atol=1e-4)
    scale = TrackScale.fit(shards, parts(shards, recipe, seed=0).train, NAMES, centre="speaker", clip=10,
                           speakers=shards.speakers, source="mouth")  # fmt: skip
    truth = loaded.spec.dataset(shards, rows, frames=FrameTargets(1, scale)).truth()[DENSE][:, 0].numpy()
    measured = per_coordinate(told * scale.std, truth * scale.std, frame_period=shards.frame_period)
    assert measured["ccc"].mean() == pytest.approx(metrics["speakers"]["ccc"], abs=1e-5)
    with pytest.raises(InputError, match="kind 'orofacial'"):
        load_model(model)
    with pytest.raises(InputError, match=r"only \.parquet"):
        predict(folder, model, tmp_path / "moved.csv", cache=cache)


def test_tasks_without_labels_are_left_out_and_the_report_says_so(make_shards: Make, tmp_path: Path) -> None:
    rows = [{**row, "viseme": None} for row in face_rows(per_speaker=15)]
    recipe = quick(structures=["shared"], epochs=1, tasks=[["viseme"], ["viseme", "emotion"], []])
    folder = make_shards("faces", rows, **ABOUT)
    runs = orofacial(folder, tmp_path / "m", tmp_path / "r", Params(), recipe, cache=tmp_path / "c")
    assert list(runs["tasks"]) == ["movement", "movement+emotion"]
    words = (tmp_path / "r" / "orofacial.md").read_text()
    assert "Left out, as the shards have no labels for it: viseme." in words


def test_same_seed_same_numbers(make_shards: Make, tmp_path: Path) -> None:
    recipe = quick(structures=["branches"], tasks=[["viseme"]], epochs=2)
    folder = make_shards("faces", face_rows(), **ABOUT)
    one, two = (
        orofacial(folder, tmp_path / n, tmp_path / "r", Params(), recipe, cache=tmp_path / n / "c") for n in "ab"
    )
    pd.testing.assert_frame_equal(one, two)


def test_a_killed_run_goes_on_and_a_larger_one_costs_what_is_new(make_shards: Make, tmp_path: Path) -> None:
    folder, cache, done = make_shards("faces", face_rows(), **ABOUT), tmp_path / "c", []
    shared: dict[str, Any] = {"structures": ["shared"], "epochs": 1, "seeds": [0, 1]}

    def killed(name: str) -> None:
        raise KeyboardInterrupt(name)

    arguments: dict[str, Any] = {"cache": cache, "on_start": lambda *counts: done.append(counts)}
    with pytest.raises(KeyboardInterrupt):
        orofacial(
            folder, tmp_path / "m", tmp_path / "r", Params(), quick(tasks=[[]], **shared), on_run=killed, **arguments
        )
    one = orofacial(folder, tmp_path / "m", tmp_path / "r", Params(), quick(tasks=[[]], **shared), **arguments)
    more = quick(tasks=[[], ["viseme"]], **shared)
    two = orofacial(folder, tmp_path / "m", tmp_path / "r", Params(), more, workers=2, **arguments)
    assert done == [(2, 0), (2, 1), (4, 2)]
    pd.testing.assert_frame_equal(two[two["tasks"] == "movement"].dropna(axis=1).reset_index(drop=True), one)
    changed = quick(tasks=[[]], **{**shared, "epochs": 2})
    orofacial(folder, tmp_path / "m", tmp_path / "r", Params(), changed, **arguments)
    assert done[-1] == (2, 0)


def test_a_sentence_is_held_out_whoever_says_it(make_shards: Make, tmp_path: Path) -> None:
    """Every speaker says the same nine sentences, in their own spelling."""
    rows = face_rows()
    for number, row in enumerate(rows):
        words = f"Bin blue at {'abcdefghi'[number % 9]}"
        row["sentence"] = words if row["speaker"] == "a" else words.lower() + "."
    shards = open_shards(make_shards("said", rows, **ABOUT), cache=tmp_path / "c")
    said = sentence_keys(shards)
    assert len(set(said)) == 9
    drawn = parts(shards, quick(), seed=0)
    sides = [set(said[side]) for side in (drawn.train, drawn.dev, drawn.sentences)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 9
    assert set(shards.speakers[drawn.sentences]) == {"talk/a", "talk/b", "talk/c"}
    assert shared_sentences(shards, drawn)["sentences_shared"] == 0
    assert shared_sentences(shards, drawn)["speakers_shared"] > 0  # the held-out speaker says them too
    clips = parts(shards, quick(held_out="clips"), seed=0)
    assert set(said[clips.train]) & set(said[clips.sentences])
    for row in rows:
        del row["sentence"]
    bare = open_shards(make_shards("bare", rows, **ABOUT), cache=tmp_path / "c")
    assert parts(bare, quick(), seed=0).train.tolist() == parts(bare, quick(held_out="clips"), seed=0).train.tolist()


def test_emotion_alone_and_from_the_labels_that_there_are(make_shards: Make, tmp_path: Path) -> None:
    rows = face_rows(per_speaker=24)
    for number, row in enumerate(rows):
        row["emotion"] = ("anger", "sadness")[number % 2]
    folder = make_shards("labels", rows, **ABOUT)
    recipe = quick(structures=["branches"], tasks=[[], ["emotion"]], epochs=1)
    params = Params()
    table = orofacial(folder, tmp_path / "m", tmp_path / "r", params, recipe, cache=tmp_path / "c")
    assert table["tasks"].tolist() == ["movement", "movement+emotion"]
    assert table["emotion_source"].dropna().tolist() == ["emotion"]
    assert "sentences_emotion_uar" in table
    assert "Emotion: the manifest's labels." in (tmp_path / "r" / "orofacial.md").read_text()
    assert (tmp_path / "m" / "branches_movement_emotion" / "model.safetensors").is_file()
    shards = open_shards(folder, cache=tmp_path / "c")
    drawn = parts(shards, recipe, seed=0)
    assert emotion_column(shards, drawn.train, quick(emotion="t3_label")) == "t3_label"
    for row in rows[3:]:
        row["emotion"] = None  # too few labels to learn from
    few = open_shards(make_shards("few", rows, **ABOUT), cache=tmp_path / "c")
    assert emotion_column(few, drawn.train, recipe) == "t3_label"
