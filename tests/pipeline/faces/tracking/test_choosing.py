"""Which of several faces counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.faces.tracking.choosing import ONLY, PROMINENT, TALKS, choose
from pipeline.faces.tracking.talking import RATE, Sound
from tests.pipeline.faces.tracking.conftest import TIME, babble, face, moves, scene_of, sound


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 50),
    fps=st.sampled_from([10, 15, 25, 29.97, 60]),
    delay=st.sampled_from([0.0, 0.08, 0.2]),
    swap=st.booleans(),
)
def test_the_planted_talker_is_taken_whatever_side_rate_and_delay(seed, fps, delay, swap):
    voice, other = babble(seed), babble(seed + 1000)
    time = np.arange(round(6 * fps)) / fps
    talks, listens = (
        face(number, moves(samples, time, delay), time, place=place, seed=seed)
        for number, (samples, place) in enumerate(((voice, (100, 100)), (other, (300, 100))))
    )
    faces = [replace(listens, number=0), replace(talks, number=1)] if swap else [talks, listens]
    choice = choose(scene_of(*faces, time=time), sound(voice))
    assert choice.rule == TALKS
    assert choice.n_faces == 2
    assert [chosen.number for chosen in choice.faces] == [1 if swap else 0]
    assert choice.score > 0.3


def test_without_a_voice_the_largest_and_most_central_is_taken():
    still = np.random.default_rng(0).normal(size=(len(TIME), 2))
    near, far = face(0, still, TIME, size=60.0), face(1, still, TIME, place=(300, 100), size=30.0)
    middle = face(2, still, TIME, place=(200, 100), size=60.0)
    for silent in (None, sound(np.zeros(0, np.float32)), sound(np.zeros(6 * RATE, np.float32))):
        assert choose(scene_of(far, near), silent).rule == PROMINENT
        assert choose(scene_of(far, near), silent).faces == [near]
        assert choose(scene_of(near, middle), silent).faces == [middle]


def test_a_still_face_does_not_talk():
    voice = babble(5)
    drawn = face(0, moves(voice, TIME), TIME, noise=0.0)
    for points in drawn.points:
        points[:] = drawn.points[0] + 0.005 * (points - drawn.points[0])  # a portrait that trembles with the sound
    talks = face(1, moves(voice, TIME), TIME, place=(300, 100), noise=1.5)
    assert choose(scene_of(drawn, talks), sound(voice)).faces == [talks]


def test_the_sound_is_not_asked_for_where_there_is_no_choice():
    def load():
        raise AssertionError("decoded")

    motion = moves(babble(0), TIME)
    one = face(0, motion[:70], TIME[:70])
    next_one = face(1, motion[80:], TIME[80:], first=80, place=(300, 100))
    glimpse = face(2, motion[:5], TIME[:5], first=20, place=(300, 100))
    choice = choose(scene_of(one, next_one, glimpse), Sound(0.0, load))
    assert choice.rule == ONLY
    assert choice.faces == [one, next_one]
    assert (choice.n_faces, np.isnan(choice.score)) == (1, True)
    assert choose(scene_of(), Sound(0.0, load)).faces == []


def test_each_shot_has_its_own_choice_and_no_frame_two_faces():
    voice = babble(7, 12.0)
    time = np.arange(300) / 25
    shot = np.repeat([0, 1], 150)
    right, wrong = moves(voice, time), moves(babble(8, 12.0), time)
    faces = [
        face(0, right[:150], time[:150]),
        face(1, wrong[:150], time[:150], place=(300, 100)),
        face(2, wrong[150:], time[150:], first=150, shot=1),
        face(3, right[150:], time[150:], first=150, shot=1, place=(300, 100)),
    ]
    choice = choose(scene_of(*faces, time=time, shot=shot), sound(voice))
    assert [chosen.number for chosen in choice.faces] == [0, 3]
