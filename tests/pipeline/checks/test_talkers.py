"""Films of two clips, in which one face talks."""

from __future__ import annotations

import pytest

from pipeline.checks.talkers import pairs, summarise, take_films
from pipeline.media import probe
from tests.pipeline.faces.conftest import CONFIG, film_of_two


def test_everybody_talks_once_a_round_and_never_beside_themselves():
    planned = list(pairs(5, rounds=3))
    assert len(set(planned)) == 15
    assert all(talker != other for talker, other in planned)
    assert sorted(talker for talker, _ in planned) == sorted(list(range(5)) * 3)
    assert len(list(pairs(2, rounds=9))) == 2


def test_two_clips_beside_each_other_have_one_voice_and_one_clock(tmp_path):
    info = probe(film_of_two(tmp_path))
    assert info.has_audio
    assert info.has_video
    assert info.height == 360
    assert info.duration == pytest.approx(1.75, abs=0.35)


@pytest.mark.slow
def test_the_talker_is_taken_in_real_films(shared_data):
    """Ten speakers on which nothing was chosen; the figures for more clips are in docs/faces.md."""
    films = take_films(shared_data / "grid" / "mixed", CONFIG, seconds=10.0, rounds=1, limit=None)
    table = summarise(films)
    assert table.loc["all", "films"] >= 8
    assert table.loc["all", "talker taken"] >= 0.9
