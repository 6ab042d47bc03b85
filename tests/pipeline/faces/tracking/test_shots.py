"""Camera cuts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.faces.tracking.shots import CutFinder
from pipeline.media import frames


def cut_frames(images):
    cut = CutFinder()
    return [index for index, image in enumerate(images) if cut(image)]


@pytest.fixture(scope="module")
def scenery():
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (640, 360)) for _ in range(2)]


def test_a_cut_is_seen_in_the_frame_that_begins_the_shot(scenery):
    assert cut_frames([scenery[0]] * 8 + [scenery[1]] * 8 + [scenery[0]] * 8) == [8, 16]


def test_light_motion_and_noise_are_no_cuts(scenery):
    one = scenery[0].astype(np.float64)
    rng = np.random.default_rng(1)
    fade = [np.clip(one * level, 0, 255).astype(np.uint8) for level in np.linspace(1, 0, 20)]
    flash = [scenery[0]] * 6 + [np.clip(one * 0.5 + 120, 0, 255).astype(np.uint8)] + [scenery[0]] * 6
    pan = [np.ascontiguousarray(np.roll(scenery[0], 6 * step, axis=1)) for step in range(20)]
    noise = [np.clip(one + rng.normal(0, 20, one.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    black = [np.zeros((90, 160, 3), np.uint8)] * 4 + [np.full((90, 160, 3), 2, np.uint8)] * 4
    for images in (fade, flash, pan, noise, black):
        assert cut_frames(images) == []


def test_a_zoom_is_not_a_cut_a_frame(scenery):
    zoom = [cv2.resize(scenery[0][s : 360 - s, s : 640 - s], (640, 360)) for s in range(0, 160, 16)]
    assert len(cut_frames([scenery[0]] * 8 + zoom)) <= 1


@pytest.mark.slow
def test_cuts_between_people_framed_alike_and_none_within(shared_data):
    clips = [list(frames(path)) for path in sorted((shared_data / "grid" / "mixed").glob("*.mpg"))]
    images = [frame.image for clip in clips for frame in clip]
    begins = np.cumsum([len(clip) for clip in clips])[:-1].tolist()
    found = cut_frames(images)
    assert set(found) <= set(begins)
    assert len(found) >= len(begins) - 1
