"""Mouth coordinates and visemes on every frame: from the shards to the targets of a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.recipes.orofacial.conftest import ABOUT, NAMES, VISEMES, face_rows
from trainer.data.normalisation import Normalisation
from trainer.data.shards import open_shards
from trainer.data.tracks import DENSE, VISEME, FrameTargets, TrackScale
from trainer.errors import InputError
from trainer.recipes.orofacial.network import FaceSpec

Make = Callable[..., Path]


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
    speakers = shards.speakers
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
