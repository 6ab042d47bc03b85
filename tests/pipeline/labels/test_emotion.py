"""Emotion scores from action units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.labels import emotion
from pipeline.labels.config import RULES
from tests.pipeline.labels.conftest import AUS


def test_each_emotion_wins_on_its_own_units():
    """A perfect fear face once came out as surprise, whose units are a part of fear's."""
    names, matrix = emotion.rule_matrix(RULES, AUS, dict.fromkeys(AUS, 1.0), contrast=0.5)
    for name in names:
        track = np.zeros((30, len(AUS)))
        track[:, [AUS.index(unit) for unit in RULES[name]]] = 2.0
        scores = emotion.soft_scores(
            track, baseline=np.zeros(len(AUS)), scale=np.ones(len(AUS)), matrix=matrix, summary=0.75
        )
        assert emotion.decide(scores, names, floor=0.5)[0] == name


def test_unsupported_units_do_not_pull_a_score_down():
    _, full = emotion.rule_matrix(RULES, AUS, dict.fromkeys(AUS, 1.0))
    names, part = emotion.rule_matrix(RULES, AUS, {**dict.fromkeys(AUS, 1.0), "AU20": 0.0})
    assert np.allclose(part.sum(axis=1), 1)
    fear = names.index("fear")
    assert part[fear, AUS.index("AU20")] == 0 < full[fear, AUS.index("AU20")]
    assert "fear" not in emotion.rule_matrix(RULES, AUS, {"AU12": 1.0})[0]


def test_the_speakers_own_face_is_neutral():
    frowner = np.full((20, len(AUS)), 3.0)
    names, matrix = emotion.rule_matrix(RULES, AUS, dict.fromkeys(AUS, 1.0))
    scores = emotion.soft_scores(frowner, baseline=frowner[0], scale=np.ones(len(AUS)), matrix=matrix, summary=0.75)
    assert emotion.decide(scores, names, floor=0.5) == ("neutral", 0.5)


@settings(max_examples=50, deadline=None)
@given(arrays(float, 6, elements=st.floats(-3, 3)), st.floats(0, 2))
def test_the_label_has_the_greatest_score_and_the_margin_is_never_negative(scores, floor):
    found, margin = emotion.decide(scores, list(RULES), floor=floor)
    best = scores.max()
    assert margin >= 0
    assert (found == emotion.NEUTRAL) == (best < floor)
    if found != emotion.NEUTRAL:
        assert scores[list(RULES).index(found)] == best
        assert margin <= best - floor + 1e-9


@settings(max_examples=30, deadline=None)
@given(arrays(float, (12, len(AUS)), elements=st.floats(-2, 2)), st.floats(0.1, 10), st.floats(-5, 5))
def test_scores_know_neither_the_unit_of_the_readings_nor_the_speakers_level(track, size, shift):
    _, matrix = emotion.rule_matrix(RULES, AUS, dict.fromkeys(AUS, 0.5), contrast=0.5)
    zero, one = np.zeros(len(AUS)), np.ones(len(AUS))
    plain = emotion.soft_scores(track, baseline=zero, scale=one, matrix=matrix, summary=0.75)
    other = emotion.soft_scores(
        size * track + shift, baseline=zero + shift, scale=one * size, matrix=matrix, summary=0.75
    )
    assert other == pytest.approx(plain, abs=1e-6)


def test_an_emotion_is_as_reliable_as_its_units():
    trust = {**dict.fromkeys(AUS, 0.3), "AU06": 1.0, "AU12": 1.0}
    assert emotion.class_reliability(RULES, trust)["happiness"] == 1.0
    assert emotion.class_reliability(RULES, trust)["disgust"] == 0.3
