"""Matching of voice and face among a speaker's segments, and the order of an epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.conftest import TRACKS, dense_rows, unlabelled_rows
from trainer.data.shards import open_shards
from trainer.errors import InputError, Notice
from trainer.models.checkpoint import load_model
from trainer.models.network import TEMPERATURE
from trainer.params import Params
from trainer.pretraining.matching import FaceVectors, MatchingLoss
from trainer.pretraining.pretext import Pretext
from trainer.pretraining.pretrain import pretrain
from trainer.training.diagnostics import matched_share

Make = Callable[..., Path]
Tiny = Callable[..., Params]
MATCH = {"tasks": [], "matching": 1.0}


def test_the_loss_knows_negatives_of_the_same_speaker_alone() -> None:
    """By hand: cosines 1 and 0 at temperature 1 between two segments; the other speaker's and the faceless add none."""
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    scores = torch.stack(
        [torch.stack([one, one]), torch.stack([two, two]), torch.stack([one, two]), torch.stack([one, two])]
    )
    by_hand = -math.log(math.e / (math.e + 1))
    whose = torch.tensor([[7, 0], [7, 1], [3, 2], [-1, 3]])
    assert MatchingLoss()(scores, whose).item() == pytest.approx(by_hand)
    # a copy of a segment, which an even draw brings, is no wrong answer
    twice, copies = torch.cat([scores[:2], scores[:1]]), torch.tensor([[7, 0], [7, 1], [7, 0]])
    one_of_two = -math.log(math.e / (math.e + 2))  # for the other segment, both copies are wrong answers
    assert MatchingLoss()(twice, copies).item() == pytest.approx((2 * by_hand + one_of_two) / 3)
    scores.requires_grad_(True)
    alone = MatchingLoss()(scores, torch.tensor([[7, 0], [2, 1], [7, 0], [-1, 3]]))
    alone.backward()
    assert alone.item() == 0.0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_a_planted_relation_of_voice_and_face_is_found_on_new_speakers(
    make_shards: Make, tiny: Tiny, tmp_path: Path
) -> None:
    rows = dense_rows(per_speaker=24)
    for row in rows:  # what the mean of feature 3 says, the face says too
        if row["dense"] is not None:
            tracks = np.array(row["dense"], np.float32).reshape(-1, 2)
            tracks[:, 1] += 0.05 * np.array(row["features"]).reshape(len(tracks), -1)[:, 3].mean()
            row["dense"] = tracks.ravel().tolist()
    folder = make_shards("u", rows, dense=TRACKS)
    metrics = pretrain(folder, tmp_path / "m", tiny(pretrain={**MATCH, "epochs": 20}), cache=tmp_path / "c")
    assert metrics["matching"]["found"] > 2 * metrics["matching"]["chance"]
    again = pretrain(folder, tmp_path / "again", tiny(pretrain={**MATCH, "epochs": 20}), cache=tmp_path / "c")
    assert again == metrics
    exchanged = tiny(pretrain={**MATCH, "epochs": 20, "faces": "exchanged"})
    other = pretrain(folder, tmp_path / "x", exchanged, cache=tmp_path / "c")
    assert other["matching"]["found"] < metrics["matching"]["found"]
    back = load_model(tmp_path / "m")
    assert back.network.matcher is not None
    assert back.spec.face_size == json.loads((tmp_path / "m" / "config.json").read_text())["face_size"] == 5


def test_faces_are_described_relative_to_their_speaker(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    shards = open_shards(make_shards("u", dense_rows(), dense=TRACKS), cache=tmp_path / "c")
    params = tiny(pretrain=MATCH)
    pretext = Pretext.of(shards, params.pretrain, params.encoder)
    faces = pretext.faces
    assert faces is not None
    assert faces.speakers[0] == -1  # its tracks are missing
    assert not faces.vectors[0].any()
    free = FaceVectors.of(shards, pretext.train, clip=1e9)
    for number in set(free.speakers) - {-1}:
        np.testing.assert_allclose(free.vectors[free.speakers == number].mean(axis=0), 0, atol=1e-4)
    lacking = shards.frame_names  # a track that no training row has says nothing, and takes no face away
    assert lacking["dense"][1] == "AU12"


def test_shards_without_faces_are_refused(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pretrain\.matching.*shards\.dense\.groups"):
        pretrain(make_shards("u", unlabelled_rows()), tmp_path / "m", tiny(pretrain=MATCH), cache=tmp_path / "c")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"augment": {"mixup": 0.4}}, "faces cannot be mixed"),
        ({"batch_size": 3}, "batch_size must be 4 or more"),
        ({"faces": "shifted"}, "no other time"),
    ],
)
def test_what_cannot_be_matched_is_refused(tiny: Tiny, options: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        tiny(pretrain={**MATCH, **options})


def test_held_out_speakers_who_cannot_be_matched_choose_no_epoch(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows = dense_rows()
    one = next(row for row in rows if row["speaker"] == "x")  # the held-out speaker has one segment
    kept = [row | {"split": "train"} for row in rows if row["speaker"] != "x"] + [one | {"split": "dev"}]
    folder = make_shards("u", kept, dense=TRACKS)
    with pytest.warns(Notice, match="not measured"):
        metrics = pretrain(
            folder, tmp_path / "m", tiny(pretrain={**MATCH, "epochs": 1, "monitor": "last"}), cache=tmp_path / "c"
        )
    assert metrics["matching"] is None
    with pytest.raises(InputError, match=r"set pretrain\.monitor to last"):
        pretrain(folder, tmp_path / "n", tiny(pretrain={**MATCH, "monitor": "loss"}), cache=tmp_path / "c")


def test_scores_are_cosines_over_the_temperature() -> None:
    from trainer.models.network import Matcher

    sides = Matcher(6, 4, hidden=8)(torch.randn(5, 6), torch.randn(5, 4))
    torch.testing.assert_close((sides * sides).sum(dim=2), torch.full((5, 2), 1 / TEMPERATURE))


def test_nobody_to_match_is_no_number() -> None:
    assert matched_share(torch.zeros(2, 2, 3), torch.tensor([[1, 0], [2, 1]])) is None


def test_an_even_draw_trains(make_shards: Make, tiny: Tiny, tmp_path: Path) -> None:
    rows = [row for row in dense_rows() if row["speaker"] != "u" or row["clip_id"].endswith("1")]
    folder = make_shards("u", rows, dense=TRACKS)
    options = {"tasks": [], "dense": ["aus"], "epochs": 2, "monitor": "last"}
    for draw in ("segments", "speakers"):
        pretrain(folder, tmp_path / draw, tiny(pretrain={**options, "draw": draw}), cache=tmp_path / "c")
    one, other = ((tmp_path / draw / "model.safetensors").read_bytes() for draw in ("segments", "speakers"))
    assert one != other
