"""The regions of the face."""

from __future__ import annotations

from pipeline.labels.regions import regions


def test_regions_split_the_face():
    assert sum(map(len, regions())) == 478
    assert not set(regions().mouth) & set(regions().rest)
    assert {0, 17, 61, 291, 152} <= set(regions().mouth)  # lips, mouth corners, chin
    assert {33, 263, 70, 300, 10, 6} <= set(regions().rest)  # eyes, brows, forehead, nose bridge
