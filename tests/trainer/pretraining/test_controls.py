"""Negative controls: the face of another segment, or of another time; rare classes and their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.conftest import TRACKS, dense_rows, unlabelled_rows
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE, pool_frames
from trainer.errors import Notice
from trainer.objectives.losses import CrossEntropy, GuardedLoss, SummedLoss, balanced_weights
from trainer.params import Params
from trainer.pretraining.controls import partners
from trainer.pretraining.pretext import Pretext

Make = Callable[..., Path]
Tiny = Callable[..., Params]


def _pretext(folder: Path, params: Params, cache: Path) -> Pretext:
    return Pretext.of(open_shards(folder, cache=cache), params.pretrain, params.encoder)


def test_partners_are_others_of_the_same_corpus(make_shards: Make, tmp_path: Path) -> None:
    rows = unlabelled_rows("talk") + unlabelled_rows("chat", speakers=("m",))
    shards = open_shards(make_shards("u", rows), cache=tmp_path / "cache")
    everyone = np.arange(len(rows))
    found = partners(shards, everyone, seed=0)
    assert sorted(found) == everyone.tolist()  # everyone is someone's partner once
    assert (found != everyone).all()
    assert (shards.corpora[found] == shards.corpora).all()
    assert partners(shards, everyone, seed=1).tolist() != found.tolist()
    some = np.flatnonzero(shards.speakers != "talk/u")  # those whom a fold tests give their faces to nobody
    assert set(partners(shards, some, seed=0)[some]) == set(some)


def test_exchanged_faces_keep_the_energy_and_the_counts(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    folder = make_shards("u", unlabelled_rows())
    own, other = (
        _pretext(folder, tiny(pretrain={"faces": faces}), tmp_path / "cache") for faces in ("own", "exchanged")
    )
    assert own.targets["energy_variation"].tolist() == other.targets["energy_variation"].tolist()
    for name in ("facial_activation", "au_emotion"):
        assert own.targets[name].tolist() != other.targets[name].tolist()
        assert Counter(own.targets[name].tolist()) == Counter(other.targets[name].tolist())


@pytest.mark.parametrize("centre", ["none", "speaker", "segment"])
@pytest.mark.parametrize("faces", ["exchanged", "shifted"])
def test_tracks_of_the_face_come_from_elsewhere(
    make_shards: Make, tiny: Tiny, tmp_path: Path, faces: str, centre: str
) -> None:
    """The energy is centred as the row's own, not as the row's whose face it gets: all but the face stays."""
    folder = make_shards("u", dense_rows(), dense=TRACKS)
    options = {"tasks": [], "dense": ["energy", "aus"], "dense_centre": centre, "monitor": "last"}
    found = {}
    for which in ("own", faces):
        pretext = _pretext(folder, tiny(pretrain={**options, "faces": which}), tmp_path / "cache")
        shards, frames = pretext.shards, pretext.frames
        assert frames is not None
        rows = np.array([5])
        at = (shards.offsets[5] + np.arange(shards.lengths[5]))[None, None]
        features = np.asarray(shards.features[at])
        found[which] = frames.targets(shards, rows, at, features, np.ones_like(at, bool))[DENSE][0, 0]
    partner = int(partners(shards, np.arange(len(shards.rows)), seed=0)[5]) if faces == "exchanged" else 5
    np.testing.assert_array_equal(found["own"][:, 0], found[faces][:, 0])  # energy stays
    assert not np.array_equal(found["own"][:, 1], found[faces][:, 1], equal_nan=True)
    length = int(shards.lengths[partner])
    place = (np.arange(at.size) / at.size + (0.5 if faces == "shifted" else 0.0)) % 1.0
    raw = shards.dense[shards.offsets[partner] + (place * length).astype(int), 1]
    moved = frames.moved
    assert moved is not None
    np.testing.assert_array_equal(moved.read(shards, rows, at)[0, 0, :, 1], raw)
    scale = frames.scale
    assert scale is not None
    scaled = np.clip((raw - scale.centres[partner, 1] - scale.mean[1]) / scale.std[1], -scale.clip, scale.clip)
    np.testing.assert_allclose(found[faces][:, 1], pool_frames(scaled[:, None], frames.step)[:, 0], rtol=1e-5)


def test_a_rare_class_is_left_out_and_others_are_bounded(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    """Fear with one segment of 330 weighed 47."""
    rows = unlabelled_rows()
    for number, row in enumerate(rows):
        row["t3_label"] = "fear" if number == 0 else "anger" if number < 4 else row["t3_label"]
    folder = make_shards("u", rows)
    options = {"tasks": [3], "min_class": 2, "max_class_weight": 1.5}
    with pytest.warns(Notice, match=r"task 3 \(au_emotion\): fear \(.\): fewer training segments"):
        pretext = _pretext(folder, tiny(pretrain=options), tmp_path / "cache")
    assert pretext.heads["au_emotion"].names == ("anger", "happiness", "neutral")
    loss = pretext.loss()
    assert isinstance(loss, GuardedLoss)
    assert isinstance(loss.base, SummedLoss)
    part = loss.base.parts["au_emotion"]
    assert isinstance(part, CrossEntropy)
    assert part.weights.max() == 1.5
    labels = np.array([0] * 1 + [1] * 329)
    assert balanced_weights(labels, 2).tolist() == pytest.approx([165.0, 330 / 658])
    assert balanced_weights(labels, 2, most=5.0).tolist() == pytest.approx([5.0, 330 / 658])
