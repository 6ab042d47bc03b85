"""Clusters of mouth shapes in place of visemes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.recipes.orofacial.conftest import ABOUT, NAMES, face_rows, quick
from trainer.data.shards import open_shards
from trainer.data.tracks import TrackScale
from trainer.errors import InputError
from trainer.params import Params
from trainer.predict import predict
from trainer.recipes.orofacial.mouth_shapes import with_mouth_shapes
from trainer.recipes.orofacial.network import load_face
from trainer.recipes.orofacial.study import orofacial, parts

Make = Callable[..., Path]


def test_shapes_of_the_mouth_stand_in_for_visemes(make_shards: Make, tmp_path: Path) -> None:
    rows = [{**row, "viseme": None} for row in face_rows(per_speaker=15)]
    rows[3]["mouth"] = None
    folder = make_shards("faces", rows, **ABOUT)
    shards = open_shards(folder, cache=tmp_path / "c")
    recipe = quick(structures=["branches"], tasks=[[], ["viseme"]], viseme="shapes", shapes=3, epochs=6)
    drawn = parts(shards, recipe, seed=0)
    speakers = shards.speakers
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
    with pytest.raises(InputError, match=r"shapes = 99"):
        with_mouth_shapes(shards, drawn.train[:1], scale, count=99, seed=0)

    runs = orofacial(folder, tmp_path / "m", tmp_path / "r", Params(), recipe, cache=tmp_path / "c")
    assert runs["sentences_viseme_uar"].iloc[1] > 0.5  # chance .33
    model = load_face(tmp_path / "m" / "branches_movement_viseme")
    assert model.spec.classes == {"viseme": ("shape_00", "shape_01", "shape_02")}
    told = predict(folder, tmp_path / "m" / "branches_movement_viseme", tmp_path / "p.parquet", cache=tmp_path / "c")
    assert len(told) == len(rows)
