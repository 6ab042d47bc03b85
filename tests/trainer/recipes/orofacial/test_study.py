"""Mouth movement from speech: columns, network, losses, measures, the whole recipe on toy shards, and the film."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.trainer.conftest import N_FEATURES, unlabelled_rows
from trainer.data.dataset import Batch
from trainer.data.normalisation import Normalisation
from trainer.data.rows import speaker_keys
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE, VECTORS, VISEME, FrameTargets, TrackScale
from trainer.errors import InputError
from trainer.models.checkpoint import load_model, save_model
from trainer.objectives.losses import CrossEntropy, SummedLoss, TrackLoss
from trainer.params import OrofacialParams, Params, parse_params
from trainer.predict import predict
from trainer.recipes.orofacial.mouth_shapes import with_mouth_shapes
from trainer.recipes.orofacial.movement import per_coordinate, summary
from trainer.recipes.orofacial.network import EMOTION, FaceNetwork, FaceSpec, load_face
from trainer.recipes.orofacial.report import markdown
from trainer.recipes.orofacial.run import FrameCrossEntropy
from trainer.recipes.orofacial.study import orofacial, parts
from trainer.training.loop import run_network

Make = Callable[..., Path]
NAMES = ["lips_inner_013_x", "lips_inner_013_y", "jaw_152_x", "jaw_152_y"]
VISEMES = ["silence", "open"]
ABOUT = {
    "mouth": {"names": NAMES},
    "viseme": {"names": VISEMES},
    "config": {"shards": {"features": "lld"}, "acoustics": {}, "audio": {}},
    "frame_centre": 0.025,
}
SPEAKERS = ("a", "b", "c", "d")


def face_rows(*, per_speaker: int = 9, **options: Any) -> list[dict[str, Any]]:
    """Segments whose mouth opens with feature 4 on a face of the speaker's own; features 5 tells the viseme."""
    rng = np.random.default_rng(5)
    rows = unlabelled_rows("talk", speakers=SPEAKERS, per_speaker=per_speaker, **options)
    rest = {row["speaker"]: rng.normal(0, 1, len(NAMES)) for row in rows}
    for row in rows:
        frames = np.array(row["features"]).reshape(-1, N_FEATURES)
        knots = np.arange(0, len(frames) + 8, 8)
        slow = np.interp(np.arange(len(frames)), knots, rng.normal(size=len(knots)))
        frames[:, 4] += 150 * slow
        said = (frames[:, 5] > 1000).astype(np.int8)
        mouth = 0.1 * np.outer(slow, [0.1, -1.0, 0.2, -0.8]) + 0.005 * rng.normal(size=(len(frames), 4))
        mouth += rest[row["speaker"]]
        unseen = rng.random(len(frames)) < 0.1
        mouth[unseen], said[unseen] = np.nan, -1
        row |= {"features": frames.ravel().tolist(), "mouth": mouth.astype(np.float32).ravel().tolist()}
        row["viseme"] = said.tolist()
        row["split"] = "dev" if row["speaker"] == "d" else "train"
    return rows


def quick(**options: Any) -> Params:
    section = {"seeds": [0], "hidden": 8, "epochs": 8, "min_clips": 3, "lr": 0.02, "dropout": 0.0, "batch_size": 8}
    return parse_params({"orofacial": {**section, **options}})


def network(**options: Any) -> FaceNetwork:
    torch.manual_seed(0)
    shape = {"structure": "branches", "hidden": 5, "layers": 2, "dropout": 0.0} | options
    return FaceNetwork(3, outputs={DENSE: 4, VISEME: 2, EMOTION: 3}, **shape).eval()


def batch_of(x: torch.Tensor, lengths: list[int]) -> Batch:
    mask = torch.arange(x.shape[1])[None] < torch.tensor(lengths)[:, None]
    return Batch(x[:, None], mask[:, None], torch.ones(len(x), 1, dtype=torch.bool), {})


# columns


def test_shards_hold_the_columns_and_what_is_missing_of_them(make_shards: Make, tmp_path: Path) -> None:
    rows = face_rows(per_speaker=3)
    rows[1]["mouth"] = rows[1]["viseme"] = None
    shards = open_shards(make_shards("faces", rows, **ABOUT), cache=tmp_path / "c")
    assert shards.frame_names == {"mouth": tuple(NAMES), "viseme": tuple(VISEMES)}
    assert not {"mouth", "viseme"} & set(shards.rows)
    for number, row in enumerate(rows[:4]):
        a, b = shards.offsets[number : number + 2]
        if row["mouth"] is None:
            assert np.isnan(shards.mouth[a:b]).all()
            assert (shards.viseme[a:b] == -1).all()
        else:
            np.testing.assert_array_equal(shards.mouth[a:b].ravel(), np.float32(row["mouth"]))
            assert shards.viseme[a:b, 0].tolist() == row["viseme"]
    assert shards.dense.shape[1] == 0


@pytest.mark.parametrize("column", ["mouth", "viseme"])
def test_columns_of_the_wrong_length_are_named(make_shards: Make, tmp_path: Path, column: str) -> None:
    rows = face_rows(per_speaker=3)
    rows[2][column] = rows[2][column][:-1]
    with pytest.raises(InputError, match=f"{rows[2]['segment_id']}.*{column} targets, expected"):
        open_shards(make_shards("faces", rows, **ABOUT), cache=tmp_path / "c")


def test_targets_are_centred_masked_and_classed(make_shards: Make, tmp_path: Path) -> None:
    shards = open_shards(make_shards("faces", face_rows(), **ABOUT), cache=tmp_path / "c")
    every = np.arange(len(shards.rows))
    speakers = speaker_keys(shards.rows)
    scale = TrackScale.fit(shards, every, NAMES, centre="speaker", clip=10, speakers=speakers, source="mouth")
    normal = Normalisation.fit(shards, every, clip=3.0)
    shape: dict[str, Any] = {"structure": "shared", "hidden": 4, "layers": 1, "dropout": 0.0, "classes": {}}
    spec = FaceSpec(**shape, feature_names=shards.feature_names, frame_period=shards.frame_period,
                    normalisation=normal, scale=scale, rest=scale.centres.mean(axis=0))  # fmt: skip
    targets = spec.dataset(shards, every, frames=FrameTargets(1, scale, visemes=True)).truth()
    shortest = int(shards.lengths.argmin())
    n = int(shards.lengths[shortest])
    assert targets[DENSE].shape == (len(every), 1, int(shards.lengths.max()), len(NAMES))
    assert targets[DENSE][shortest, 0, n:].isnan().all()
    assert (targets[VISEME][shortest, 0, n:] == -1).all()
    a = shards.offsets[shortest]
    np.testing.assert_array_equal(targets[VISEME][shortest, 0, :n], shards.viseme[a : a + n, 0])
    back = targets[DENSE][shortest, 0, :n].numpy() * scale.std + scale.mean + scale.centres[shortest]
    np.testing.assert_allclose(back, shards.mouth[a : a + n], atol=1e-5)
    assert not (targets[VISEME][targets[DENSE][..., 0].isnan()] >= 0).any()


def test_visemes_go_with_every_frame_alone() -> None:
    with pytest.raises(ValueError, match="every frame"):
        FrameTargets(2, visemes=True)


# network and losses


@pytest.mark.parametrize("structure", ["shared", "branches"])
@settings(max_examples=8)
@given(short=st.integers(1, 9), more=st.integers(0, 6), seed=st.integers(0, 99))
def test_padded_frames_have_no_influence(structure: str, short: int, more: int, seed: int) -> None:
    net = network(structure=structure)
    x = torch.randn(2, 9 + more, 3, generator=torch.Generator().manual_seed(seed))
    together = net(batch_of(x, [short, 9]))
    alone = net(batch_of(x[:1, :short], [short]))
    for name in (DENSE, VISEME):
        torch.testing.assert_close(together[name][:1, :, :short], alone[name], atol=1e-5, rtol=1e-5)
    for name in (EMOTION, VECTORS):
        torch.testing.assert_close(together[name][:1], alone[name], atol=1e-5, rtol=1e-5)


def test_branches_have_layers_of_their_own_and_shared_has_none() -> None:
    assert set(network().own) == {DENSE, VISEME, EMOTION}
    assert not network(structure="shared").own
    with pytest.raises(ValueError, match="one chunk"):
        network()(Batch(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3).bool(), torch.ones(1, 2).bool(), {}))


def test_the_multitask_loss_by_hand() -> None:
    guess = torch.tensor([[[[0.0], [1.0], [2.0], [9.0]]]])
    truth = torch.tensor([[[[0.0], [2.0], [4.0], [torch.nan]]]])
    # means 1 and 2, variances 2/3 and 8/3, covariance 4/3: CCC = (8/3) / (10/3 + 1) = 8/13
    logits = torch.tensor([[[[2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [5.0, 0.0]]]])
    classes = torch.tensor([[[0, 1, -1, -1]]])
    weights = torch.tensor([1.0, 3.0])
    said = (functional.softplus(torch.tensor(-2.0)) + 3 * functional.softplus(torch.tensor(-1.0))) / 4
    felt = torch.tensor([[0.0, 0.0, 0.0]])
    losses = {
        DENSE: TrackLoss("ccc"),
        VISEME: FrameCrossEntropy(CrossEntropy(weights)),
        EMOTION: CrossEntropy(torch.ones(3)),
    }
    total = SummedLoss(losses, {DENSE: 1.0, VISEME: 0.5, EMOTION: 0.1})
    scores = {DENSE: guess, VISEME: logits, EMOTION: felt}
    value = total(scores, {DENSE: truth, VISEME: classes, EMOTION: torch.tensor([2])})
    expected = 5 / 13 + 0.5 * float(said) + 0.1 * np.log(3)
    assert float(value) == pytest.approx(expected, abs=1e-5)
    # a held-out set that watches the movement alone
    assert float(total(scores, {DENSE: truth})) == pytest.approx(5 / 13, abs=1e-5)
    assert float(TrackLoss("mse")(guess, truth)) == pytest.approx(5 / 3)


def test_a_batch_without_any_label_gives_zero_and_finite_gradients() -> None:
    logits = torch.randn(1, 1, 4, 2, requires_grad=True)
    value = FrameCrossEntropy(CrossEntropy(torch.ones(2)))(logits, torch.full((1, 1, 4), -1))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


# measures


def test_measures_by_hand() -> None:
    truth = np.array([[[0.0], [2.0], [4.0], [np.nan], [4.0]]], np.float32)
    guess = np.array([[[0.0], [1.0], [2.0], [7.0], [1.0]]], np.float32)
    found = {name: value[0] for name, value in per_coordinate(guess, truth, frame_period=0.5).items()}
    x, y = np.array([0.0, 1.0, 2.0, 1.0]), np.array([0.0, 2.0, 4.0, 4.0])
    both = np.cov(x, y, ddof=0)
    assert found["r"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found["ccc"] == pytest.approx(2 * both[0, 1] / (both[0, 0] + both[1, 1] + (x.mean() - y.mean()) ** 2))
    assert found["velocity_error"] == pytest.approx(2.0)  # 2 against 4 a second, twice; not across the gap
    assert found["still"] == pytest.approx(4.0)
    assert found["rmse"] == pytest.approx(np.sqrt((1 + 4 + 9) / 4))


def test_perfect_still_and_unseen_coordinates() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 20, 3)).astype(np.float32)
    truth[..., 2] = np.nan
    guess = truth.copy()
    guess[..., 1] = 0.3
    found = per_coordinate(guess, truth, frame_period=0.02)
    np.testing.assert_allclose(
        [found[name][0] for name in ("ccc", "r", "velocity_error", "rmse")], [1, 1, 0, 0], atol=1e-6
    )
    assert found["r"][1] == 0
    assert found["velocity_error"][1] == pytest.approx(found["still"][1])
    assert all(np.isnan(values[2]) for values in found.values())
    told = summary(found, ("lips_inner_013_y", "jaw_152_y", "chin_199_y"))
    assert told["ccc_opening"] == pytest.approx(1.0)
    assert told["r"] == pytest.approx(0.5)


# protocol


def test_clips_and_speakers_stay_on_one_side(make_shards: Make, tmp_path: Path) -> None:
    rows = face_rows()
    rows[3]["clip_id"] = rows[4]["clip_id"]  # two segments of one clip
    rows[5]["mouth"] = None  # no face was seen
    shards = open_shards(make_shards("faces", rows, **ABOUT), cache=tmp_path / "c")
    options = quick().orofacial
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
    sides = parts(shards, quick(min_clips=9).orofacial, seed=0)
    assert set(shards.rows["speaker"].iloc[sides.speakers]) == {"c"}
    assert not len(parts(shards, quick(min_clips=99).orofacial, seed=0).speakers)  # nobody has so many: everyone trains


def test_shards_that_cannot_do_are_refused(make_shards: Make, tmp_path: Path) -> None:
    plain = open_shards(make_shards("plain", unlabelled_rows()), cache=tmp_path / "c")
    with pytest.raises(InputError, match="no column mouth"):
        parts(plain, OrofacialParams(), seed=0)
    faces = open_shards(make_shards("faces", face_rows(), **ABOUT), cache=tmp_path / "c")
    with pytest.raises(InputError, match="corpora: moon not in"):
        parts(faces, OrofacialParams(corpora=("moon",)), seed=0)
    few = open_shards(make_shards("few", face_rows()[:3], **ABOUT), cache=tmp_path / "c")
    with pytest.raises(InputError, match="3 clips of speakers to train on"):
        parts(few, OrofacialParams(), seed=0)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"tasks": [["viseme", "viseme"]]}, "at most once"),
        ({"tasks": [["valence"]]}, r"orofacial\.tasks"),
        ({"seeds": []}, "non-empty"),
        ({"test_share": 0.6, "dev_share": 0.5}, "must leave clips"),
        ({"layer": 2}, "unknown key"),
    ],
)
def test_wrong_parameters_are_named(section: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_params({"orofacial": section})


# the whole recipe


def test_the_recipe_learns_compares_and_loads_back(make_shards: Make, tmp_path: Path) -> None:
    folder = make_shards("faces", face_rows(per_speaker=15), **ABOUT)
    cache = tmp_path / "c"
    params = quick(tasks=[[], ["viseme", "emotion"]], epochs=6)
    runs = orofacial(folder, tmp_path / "m", tmp_path / "r", params, cache=cache)
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
    rows = parts(shards, params.orofacial, seed=0).speakers
    told = run_network(loaded.network, loaded.spec.dataset(shards, rows), batch_size=4).logits[DENSE][:, 0].numpy()
    out = tmp_path / "moved.parquet"
    table = predict(folder, model, out, cache=cache)
    pd.testing.assert_series_equal(pd.read_parquet(out)["n_frames"], table["n_frames"])
    for place, row in enumerate(rows):
        n = int(shards.lengths[row])
        moved = table["mouth"].iloc[row].reshape(n, -1)
        np.testing.assert_allclose(moved, loaded.spec.coordinates(told[place, :n]), atol=1e-4)
    scale = TrackScale.fit(shards, parts(shards, params.orofacial, seed=0).train, NAMES, centre="speaker", clip=10,
                           speakers=speaker_keys(shards.rows), source="mouth")  # fmt: skip
    truth = loaded.spec.dataset(shards, rows, frames=FrameTargets(1, scale)).truth()[DENSE][:, 0].numpy()
    measured = per_coordinate(told * scale.std, truth * scale.std, frame_period=shards.frame_period)
    assert measured["ccc"].mean() == pytest.approx(metrics["speakers"]["ccc"], abs=1e-5)
    with pytest.raises(InputError, match="kind 'orofacial'"):
        load_model(model)
    with pytest.raises(InputError, match=r"only \.parquet"):
        predict(folder, model, tmp_path / "moved.csv", cache=cache)


def test_shapes_of_the_mouth_stand_in_for_visemes(make_shards: Make, tmp_path: Path) -> None:
    rows = [{**row, "viseme": None} for row in face_rows(per_speaker=15)]
    rows[3]["mouth"] = None
    folder = make_shards("faces", rows, **ABOUT)
    shards = open_shards(folder, cache=tmp_path / "c")
    params = quick(structures=["branches"], tasks=[[], ["viseme"]], viseme="shapes", shapes=3, epochs=6)
    drawn = parts(shards, params.orofacial, seed=0)
    speakers = speaker_keys(shards.rows)
    scale = TrackScale.fit(shards, drawn.train, NAMES, centre="speaker", clip=10, speakers=speakers, source="mouth")
    changed, again = (with_mouth_shapes(shards, drawn.train, scale, count=3, seed=0) for _ in range(2))
    np.testing.assert_array_equal(changed.viseme, again.viseme)
    np.testing.assert_array_equal(changed.viseme[:, 0] >= 0, np.isfinite(shards.mouth).all(axis=1))
    assert (shards.viseme == -1).all()  # these stay as they were
    opening = shards.mouth[:, 1] - np.repeat(scale.centres[:, 1], shards.lengths)
    middle = [opening[changed.viseme[:, 0] == number].mean() for number in range(3)]
    assert np.ptp(middle) > 1.5 * np.nanstd(opening)  # the planted opening is what parts them
    # held-out rows have no say
    fewer = with_mouth_shapes(shards, drawn.train[:10], scale, count=3, seed=0)
    assert (fewer.viseme != changed.viseme).any()
    with pytest.raises(InputError, match=r"orofacial\.shapes = 99"):
        with_mouth_shapes(shards, drawn.train[:1], scale, count=99, seed=0)

    runs = orofacial(folder, tmp_path / "m", tmp_path / "r", params, cache=tmp_path / "c")
    assert runs["sentences_viseme_uar"].iloc[1] > 0.5  # chance .33
    model = load_face(tmp_path / "m" / "branches_movement_viseme")
    assert model.spec.classes == {"viseme": ("shape_00", "shape_01", "shape_02")}
    told = predict(folder, tmp_path / "m" / "branches_movement_viseme", tmp_path / "p.parquet", cache=tmp_path / "c")
    assert len(told) == len(rows)


def test_tasks_without_labels_are_left_out_and_the_report_says_so(make_shards: Make, tmp_path: Path) -> None:
    rows = [{**row, "viseme": None} for row in face_rows(per_speaker=15)]
    params = quick(structures=["shared"], epochs=1, tasks=[["viseme"], ["viseme", "emotion"], []])
    folder = make_shards("faces", rows, **ABOUT)
    runs = orofacial(folder, tmp_path / "m", tmp_path / "r", params, cache=tmp_path / "c")
    assert list(runs["tasks"]) == ["movement", "movement+emotion"]
    words = (tmp_path / "r" / "orofacial.md").read_text()
    assert "Left out, as the shards have no labels for it: viseme." in words


def test_same_seed_same_numbers(make_shards: Make, tmp_path: Path) -> None:
    params = quick(structures=["branches"], tasks=[["viseme"]], epochs=2)
    folder = make_shards("faces", face_rows(), **ABOUT)
    one, two = (orofacial(folder, tmp_path / n, tmp_path / "r", params, cache=tmp_path / n / "c") for n in "ab")
    pd.testing.assert_frame_equal(one, two)


def test_a_killed_run_goes_on_and_a_larger_one_costs_what_is_new(make_shards: Make, tmp_path: Path) -> None:
    folder, cache, done = make_shards("faces", face_rows(), **ABOUT), tmp_path / "c", []
    shared: dict[str, Any] = {"structures": ["shared"], "epochs": 1, "seeds": [0, 1]}

    def killed(name: str) -> None:
        raise KeyboardInterrupt(name)

    arguments: dict[str, Any] = {"cache": cache, "on_start": lambda *counts: done.append(counts)}
    with pytest.raises(KeyboardInterrupt):
        orofacial(folder, tmp_path / "m", tmp_path / "r", quick(tasks=[[]], **shared), on_run=killed, **arguments)
    one = orofacial(folder, tmp_path / "m", tmp_path / "r", quick(tasks=[[]], **shared), **arguments)
    more = quick(tasks=[[], ["viseme"]], **shared)
    two = orofacial(folder, tmp_path / "m", tmp_path / "r", more, workers=2, **arguments)
    assert done == [(2, 0), (2, 1), (4, 2)]
    pd.testing.assert_frame_equal(two[two["tasks"] == "movement"].dropna(axis=1).reset_index(drop=True), one)
    changed = quick(tasks=[[]], **{**shared, "epochs": 2})
    orofacial(folder, tmp_path / "m", tmp_path / "r", changed, **arguments)
    assert done[-1] == (2, 0)


def test_the_report_pairs_seeds() -> None:
    base = {"structure": "shared", "parameters": 1000, "loss": "ccc", "n_train": 1, "n_dev": 1, "n_sentences": 1}
    base |= {"n_speakers": 0, "sentences_still": 0.1}
    rows = [
        {**base, "tasks": tasks, "seed": seed, "sentences_ccc": value, "sentences_r": value,
         "sentences_velocity_error": value}
        for seed, pair in enumerate([(0.5, 0.6), (0.3, 0.42), (0.4, 0.48)])
        for tasks, value in zip(("movement", "movement+viseme"), pair, strict=True)
    ]  # fmt: skip
    words = markdown(pd.DataFrame(rows))
    assert "| shared | movement | 1,000 | 0.400 +- 0.100 |" in words
    assert "| shared | movement+viseme | +0.100 +- 0.020 |" in words
    assert "eld-out speakers (" not in words


# the film


@pytest.fixture
def face_model(tmp_path: Path) -> Path:
    """An untrained model that knows the pipeline's own features and points."""
    from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
    from pipeline.faces.meshmodel import mesh_model
    from pipeline.orofacial.mouth import NAMES as POINTS

    names = tuple(AcousticsExtractor(AcousticsConfig()).metadata()["feature_names"])
    ones, zeros = np.ones(len(names), np.float32), np.zeros(len(names), np.float32)
    canonical = mesh_model().canonical
    rest = [canonical[int(name.split("_")[-2]), "xy".index(name[-1])] for name in POINTS]
    still = np.zeros(len(POINTS), np.float32)
    scale = TrackScale(tuple(POINTS), still, still + 0.05, 10.0)
    shape: dict[str, Any] = {"structure": "shared", "hidden": 4, "layers": 1, "dropout": 0.0, "classes": {}}
    spec = FaceSpec(**shape, feature_names=names, frame_period=0.016, normalisation=Normalisation(zeros, ones, 3.0),
                    scale=scale, rest=np.array(rest, np.float32))  # fmt: skip
    torch.manual_seed(0)
    about = {"shards_metadata": {"frame_centre": 0.016, "config": ABOUT["config"]}}
    save_model(tmp_path / "face", spec.build(), spec=spec, provenance=about, metrics={}, history=pd.DataFrame())
    return tmp_path / "face"


def test_animate_makes_a_film_with_sound_of_the_right_length(face_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("opensmile")
    import soundfile

    from pipeline.media import decode_audio, frames, probe
    from trainer.recipes.orofacial.animate import SIZE, animate

    rate, time = 22050, np.arange(int(1.3 * 22050)) / 22050
    buzz = np.sign(np.sin(2 * np.pi * 140 * time)) * 0.2 * (1 + np.sin(2 * np.pi * 3 * time)) * (time > 0.4)
    soundfile.write(tmp_path / "voice.wav", buzz, rate)
    film = tmp_path / "new" / "face.mp4"
    assert animate(tmp_path / "voice.wav", face_model, film) == pytest.approx(1.28)
    info = probe(film)
    assert info.has_audio
    assert (info.fps, info.width, info.height) == (25.0, SIZE, SIZE)
    assert info.duration == pytest.approx(1.3, abs=0.06)
    sound = decode_audio(film, sample_rate=rate)
    level = [float(np.sqrt(np.mean(np.square(part)))) for part in (sound[: int(0.3 * rate)], sound[int(0.5 * rate) :])]
    assert level[0] < 0.02 < 0.1 < level[1]
    pictures = [frame.image for frame in frames(film)]
    assert len(pictures) == 32
    assert any(not np.array_equal(pictures[0], picture) for picture in pictures[1:])
    red = (pictures[0][..., 0].astype(int) - pictures[0][..., 1] > 60).nonzero()
    assert len(red[0]) > 100
    assert 0.5 < red[0].mean() / SIZE < 0.8  # lips lie in the lower half


def test_animate_refuses_what_has_no_sound_and_other_models(face_model: Path, tmp_path: Path) -> None:
    from trainer.recipes.orofacial.animate import animate

    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"text\.wav"):
        animate(tmp_path / "text.wav", face_model, tmp_path / "face.mp4")
    with pytest.raises(InputError, match="no model folder"):
        animate(tmp_path / "text.wav", tmp_path, tmp_path / "face.mp4")


def test_the_face_of_new_sound_is_the_face_of_the_same_shards(face_model: Path, tmp_path: Path) -> None:
    """The features that animate makes of a file are those of the pipeline's stages on that file."""
    from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
    from pipeline.audio import AudioConfig, AudioExtractor
    from trainer.recipes.orofacial.animate import features_of

    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "v.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    item = {"media_path": str(tmp_path / "v.wav"), "start": 0.0, "end": 1.0}
    row = AcousticsExtractor(AcousticsConfig())({"flac": AudioExtractor(AudioConfig())(item)["flac"]})
    np.testing.assert_array_equal(features_of(tmp_path / "v.wav", load_face(face_model)).ravel(), row["lld"])
