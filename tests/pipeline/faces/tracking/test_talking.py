"""How well a mouth fits the sound."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.faces.tracking import talking
from pipeline.faces.tracking.talking import RATE, sound_of, talk_score
from tests.pipeline.conftest import run_ffmpeg
from tests.pipeline.faces import ALONE
from tests.pipeline.faces.tracking.conftest import TIME, babble, face, moves, sound


def test_scores_are_for_the_files_own_clock():
    voice = babble(3)
    one = face(0, moves(voice, TIME), TIME)
    landmarks = np.stack(one.points) * [1.0, -1.0, -1.0] / 40.0
    here = talk_score(landmarks, TIME, sound(voice))
    there = talk_score(landmarks, TIME + 100, sound(voice, start=100.0))
    assert here > 0.5
    assert there == pytest.approx(here)
    assert talk_score(landmarks, TIME + 2.0, sound(voice)) < 0.3


def test_sound_that_cannot_be_had_is_no_sound(tmp_path):
    run_ffmpeg("-i", ALONE, "-an", "-c", "copy", tmp_path / "mute.mp4")
    assert len(sound_of(tmp_path / "mute.mp4", start=0.0, end=None).load()) == 0
    assert len(sound_of(ALONE, start=0.6, end=1.0).load()) == round(1.4 * RATE)


def test_the_filter_looks_round_the_moment():
    levels = np.zeros((100, 8))
    levels[50] = 1.0
    tapped = talking.tapped(levels)
    assert np.flatnonzero(tapped.any(axis=(1, 2))).tolist() == [38, 42, 46, 50, 54, 58, 62]
