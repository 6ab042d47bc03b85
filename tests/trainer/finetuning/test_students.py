"""Self-training: who teaches, who is taught, and who is never heard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.trainer.conftest import TRACKS, labelled_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError
from trainer.finetuning.face_teacher import answer_of_faces, skill_of
from trainer.finetuning.finetune import finetune
from trainer.finetuning.plan import plan
from trainer.finetuning.students import mix
from trainer.models.checkpoint import load_model
from trainer.objectives.losses import CrossEntropy, SoftCrossEntropy
from trainer.params import Params, parse_params

Make = Callable[..., Path]
Tiny = Callable[..., Params]
FEW = {"label_fraction": 0.25, "modes": ["scratch", "student", "ensemble"], "epochs": 4, "patience": 4, "dev": "none",
       "self_training": {"face": 0.0}}  # fmt: skip
LAST = {"monitor": "last", "lr_schedule": "one_cycle"}


def films_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Films of labelled utterances whose AU12 is high in anger, low in sadness; energy is noise."""
    rng = np.random.default_rng(7)
    films = []
    for row in rows:
        level = {"anger": 3.0, "neutral": 0.0, "sadness": -3.0}[row["emotion"]]
        tracks = rng.normal(0, 1, (row["n_frames"], 2))
        tracks[:, 1] += level
        film = {name: value for name, value in row.items() if name not in ("emotion", "label_source")}
        films.append({**film, "dense": tracks.astype(np.float32).ravel().tolist()})
    return films


def test_students_learn_from_teachers_whose_first_is_the_scratch_run(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    folder, cache = make_shards("labelled", labelled_rows()), tmp_path / "cache"
    params = tiny(finetune={**FEW, **LAST, "keep": "all", "epochs": 20})
    shards = open_shards(folder, cache=cache)
    runs = plan(shards, params, None)
    by_mode = {mode: [run for run in runs if run.mode == mode] for mode in params.finetune.modes}
    for scratch, student, ensemble in zip(*by_mode.values(), strict=True):
        assert [len(run.teachers) for run in (scratch, student, ensemble)] == [0, 3, 3]
        assert student.teachers[0].key == scratch.key
        assert len({teacher.key for teacher in student.teachers}) == 3
        assert [teacher.key for teacher in ensemble.teachers] == [teacher.key for teacher in student.teachers]
        assert not set(student.rest) & {*student.train, *student.test}
        assert set(shards.speakers[student.rest]) == set(shards.speakers[student.train])
        assert len(student.rest) + len(student.train) + len(student.test) == len(shards.rows)
    started: list[tuple[int, int]] = []
    table = finetune(
        folder, "none", tmp_path / "m", tmp_path / "r", params, cache=cache,
        on_start=lambda total, done: started.append((total, done)),
    )  # fmt: skip
    assert started == [(3 * 5, 0)]  # three folds of three networks, a student, an ensemble
    again = finetune(
        folder, "none", tmp_path / "m", tmp_path / "r2", params, cache=cache, workers=2,
        on_start=lambda total, done: started.append((total, done)),
    )  # fmt: skip
    assert started[1] == (15, 15)
    pd.testing.assert_frame_equal(table, again)
    student = table[table["mode"] == "student"]
    assert (student["n_train"] == table["n_train"].iloc[0]).all()  # labels that it was given
    assert (student["n_soft_labels"] == len(by_mode["student"][0].rest)).all()
    assert student["teachers_uar"].between(0.34, 1).all()
    assert set(table["self_training"].dropna()) == {"3 networks"}
    kept = sorted(path.name for path in (tmp_path / "m" / "toy").iterdir())
    assert kept == ["scratch", "student"]  # an ensemble has no weights of its own
    config = load_model(next((tmp_path / "m" / "toy" / "student").iterdir())).config
    assert len(config["speakers"]) == 4  # nobody whom the fold tests


def test_an_ensemble_is_the_mean_of_its_teachers(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    folder, cache = make_shards("labelled", labelled_rows()), tmp_path / "cache"
    params = tiny(finetune={**FEW, **LAST, "modes": ["ensemble"]})
    finetune(folder, "none", tmp_path / "m", tmp_path / "r", params, cache=cache)
    for run in plan(open_shards(folder, cache=cache), params, None):
        each = [np.load(cache / "units" / teacher.key / "predictions.npy") for teacher in run.teachers]
        whole = np.load(cache / "units" / run.key / "predictions.npy")
        np.testing.assert_allclose(whole, np.mean(each, axis=0), rtol=1e-6)


def test_tested_speakers_change_nothing_that_a_student_learns(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    params = tiny(finetune={**FEW, **LAST, "modes": ["student"], "folds": "fold"})
    weights = []
    for number, shift in enumerate((0.0, 500.0)):
        rows = labelled_rows(speakers=("a", "b", "c", "d"))
        for row in rows:
            row["fold"] = "1" if row["speaker"] == "a" else "2"
            if row["speaker"] == "a":
                row["features"] = (np.array(row["features"]) + shift).tolist()
        folder, cache = make_shards(f"l{number}", rows), tmp_path / f"cache{number}"
        finetune(folder, "none", tmp_path / "m", tmp_path / "r", params, cache=cache)
        runs = plan(open_shards(folder, cache=cache), params, None)
        tests_a = next(run for run in runs if "a" in set(rows[row]["speaker"] for row in run.test))
        weights.append((cache / "units" / tests_a.key / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_the_face_teaches_the_voice(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    """Faces tell what the voice hides: with them a student is right where the networks are not."""
    rows = labelled_rows(signal=0.3, per_class=8)
    folder, films = make_shards("labelled", rows), make_shards("films", films_of(rows), dense=TRACKS)
    cache = tmp_path / "cache"
    options = {**FEW, **LAST, "modes": ["student"], "epochs": 2}
    found = {}
    for name, teachers in {
        "networks": {"face": 0.0},
        "face": {"teachers": 0, "face": 1.0},
        "exchanged": {"teachers": 0, "face": 1.0, "faces": "exchanged"},
    }.items():
        params = tiny(finetune={**options, "self_training": teachers})
        where = (tmp_path / "m", tmp_path / name)
        found[name] = finetune(folder, "none", *where, params, unlabelled=films, cache=cache)
    assert found["face"]["face_uar"].min() > 0.95
    assert set(found["face"]["face_covers"]) == {1.0}
    assert found["face"]["teachers_uar"].mean() > found["networks"]["teachers_uar"].mean() + 0.2
    assert found["exchanged"]["face_uar"].mean() < 0.6
    assert set(found["exchanged"]["n_soft_labels"]) == {0}  # who knows no more than chance teaches nothing
    assert found["face"]["face_skill"].min() > 0.9
    assert set(found["exchanged"]["self_training"]) == {"exchanged face 1"}


def test_faces_that_no_film_shows_are_left_to_the_networks(make_shards: Make, tmp_path: Path) -> None:
    rows = labelled_rows()
    shards = open_shards(make_shards("labelled", rows), cache=tmp_path / "c")
    films = open_shards(make_shards("films", films_of(rows[:36]), dense=TRACKS), cache=tmp_path / "c")
    labels = np.array([["anger", "neutral", "sadness"].index(row["emotion"]) for row in rows])
    train, rest = np.arange(0, 30), np.arange(30, 72)
    answer, skill = answer_of_faces(shards, films, train, labels[train], rest, size=3)
    assert skill > 0.8
    assert np.isfinite(answer[:6]).all()
    assert np.isnan(answer[6:]).all()
    assert (answer[:6].argmax(axis=1) == labels[30:36]).mean() > 0.8
    none = open_shards(make_shards("none", films_of(rows[60:]), dense=TRACKS), cache=tmp_path / "c")
    with pytest.raises(InputError, match="shows the faces of 0 of 30 labelled utterances"):
        answer_of_faces(shards, none, train, labels[train], rest, size=3)
    bare = open_shards(make_shards("bare", labelled_rows()), cache=tmp_path / "c")
    with pytest.raises(InputError, match="has no tracks of the face"):
        answer_of_faces(shards, bare, train, labels[train], rest, size=3)


def test_skill_is_what_is_known_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    assert skill_of(model, np.eye(3)[labels] + rng.normal(0, 0.01, (60, 3)), labels) == 1.0
    noise = [skill_of(model, rng.normal(size=(60, 5)), labels) for _ in range(10)]
    assert sum(value > 0 for value in noise) <= 2  # of ten, a half is expected
    half = np.where(rng.random(60) < 0.5, labels, rng.integers(0, 3, 60))
    assert 0.3 < skill_of(model, np.eye(3)[half] * 9, labels) < 0.7
    few = np.array([0, 0, 1])  # a class of one utterance cannot be known where that one is left out
    assert skill_of(model, np.eye(2)[few], few) == 0.0


def test_teachers_are_mixed_by_weight_where_they_answer() -> None:
    heard, seen = np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([[0.2, 0.8], [np.nan, np.nan]])
    np.testing.assert_allclose(mix([(1.0, heard), (3.0, seen)]), [[0.35, 0.65], [0.6, 0.4]], rtol=1e-6)
    assert np.isnan(mix([(1.0, seen)])[1]).all()


def test_soft_cross_entropy_of_one_class_is_the_hard_one() -> None:
    logits, labels = (
        torch.randn(8, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 2, 1, 0, 0, -1]),
    )
    weights = torch.tensor([0.5, 1.0, 2.0])
    hard = CrossEntropy(weights)(logits, labels)
    soft = SoftCrossEntropy(weights)
    assert soft(logits, labels) == pytest.approx(float(hard))
    shares = torch.nn.functional.one_hot(labels.clamp(min=0), 3).float() * (labels >= 0).unsqueeze(1)
    assert soft(logits, shares) == pytest.approx(float(hard))
    # by hand: q = (1/2, 1/2), t = (.5, .25), w = (1, 2): -(.5 log .5 + .5 log .5) / (.5 + .5) = log 2
    two = SoftCrossEntropy(torch.tensor([1.0, 2.0]))(torch.zeros(1, 2), torch.tensor([[0.5, 0.25]]))
    assert float(two) == pytest.approx(np.log(2))


def test_without_anything_left_to_label_it_is_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    folder = make_shards("labelled", labelled_rows())
    params = tiny(finetune={**FEW, **LAST, "label_fraction": 1.0, "modes": ["student"]})
    with pytest.raises(InputError, match=r"nothing to teach a student with: lower finetune.label_fraction"):
        finetune(folder, "none", tmp_path / "m", tmp_path / "r", params, cache=tmp_path / "c")
    rows = labelled_rows()
    for row in rows[::2]:
        row["emotion"] = None  # utterances without a label are there to be taught
    shards = open_shards(make_shards("half", rows), cache=tmp_path / "c")
    runs = plan(shards, params, None)
    assert all(len(run.rest) == len(run.train) for run in runs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"self_training": {"teachers": 0, "face": 0.0}}, "somebody must teach"),
        ({"modes": ["ensemble"], "self_training": {"teachers": 0, "face": 1.0}}, "mode ensemble is the mean"),
        ({"modes": ["student"], "objective": "soft", "target": "votes"}, "go with objective hard"),
        ({"modes": ["student"], "label_smoothing": 0.1}, "learns from soft labels"),
        ({"modes": ["ensemble"], "final_mode": "ensemble"}, "is no single network"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_params({"finetune": wrong})
