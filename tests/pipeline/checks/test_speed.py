"""The cost of the faces stage: its parts add up and are spent on the frames that there are."""

from __future__ import annotations

import pytest

from pipeline.checks.speed import PARTS, measure
from pipeline.faces.config import FacesConfig
from tests.pipeline.faces import ALONE, NONE


@pytest.mark.slow
def test_parts_are_timed_and_add_up_to_the_whole():
    clips = [ALONE, NONE]
    cost = measure(clips, FacesConfig())
    table = cost.table()
    assert cost.frames > cost.faces > 10
    assert (table.loc[list(PARTS), "ms"] > 0).all()
    assert table["share"].drop("all").sum() == pytest.approx(1)
    assert table.loc["all", "frames_per_s"] == pytest.approx(1000 / table.loc["all", "ms"])
    assert table.loc["face points", "ms"] > table.loc["action units", "ms"]
