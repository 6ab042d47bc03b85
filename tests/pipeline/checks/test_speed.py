"""The cost of the faces stage: its parts add up and are spent on the frames that there are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pipeline.checks.speed import PARTS, measure
from pipeline.faces.config import FacesConfig

FEAT_MEDIA = Path(importlib.util.find_spec("feat").submodule_search_locations[0]) / "tests" / "data"


@pytest.mark.slow
def test_parts_are_timed_and_add_up_to_the_whole():
    clips = [FEAT_MEDIA / "single_face.mp4", FEAT_MEDIA / "no_face.mp4"]
    cost = measure(clips, FacesConfig())
    table = cost.table()
    assert cost.frames > cost.faces > 10
    assert (table.loc[list(PARTS), "ms"] > 0).all()
    assert table["share"].drop("all").sum() == pytest.approx(1)
    assert table.loc["all", "frames_per_s"] == pytest.approx(1000 / table.loc["all", "ms"])
    assert table.loc["face points", "ms"] > table.loc["action units", "ms"]
