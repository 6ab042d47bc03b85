"""Films of one face and of two."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.checks.talkers import join_films
from pipeline.faces.config import FacesConfig
from pipeline.media import Frame, frames
from tests.pipeline.conftest import run_ffmpeg
from tests.pipeline.faces import ALONE

CONFIG = FacesConfig()


@pytest.fixture(scope="module")
def shown():
    return [frame for _, frame in zip(range(45), frames(ALONE, max_height=240), strict=False)]


def side_by_side(one, two):
    """The picture twice: a face each."""
    return [Frame(a.time, np.hstack([a.image, b.image])) for a, b in zip(one, two, strict=True)]


def film_of_two(folder):
    """The talking face twice, the one on the left half a second late, with the sound of the right one."""
    run_ffmpeg("-ss", "0.7", "-i", ALONE, "-c:a", "aac", folder / "late.mp4")
    join_films(folder / "late.mp4", ALONE, ALONE, folder / "film.mp4", seconds=2.0)
    return folder / "film.mp4"
