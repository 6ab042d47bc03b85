"""The regions of the face."""

from __future__ import annotations

from pipeline.labels.regions import MOUTH, REST


def test_regions_split_the_face():
    assert len(MOUTH) + len(REST) == 478
    assert not set(MOUTH) & set(REST)
    assert {0, 17, 61, 291, 152} <= set(MOUTH)  # lips, mouth corners, chin
    assert {33, 263, 70, 300, 10, 6} <= set(REST)  # eyes, brows, forehead, nose bridge
