from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import Quarantined
from pipeline.segments import SegmentsConfig, SegmentsExtractor, cut_at_pauses, levels, speech_runs
from tests.pipeline.conftest import SHARED, counting_images, speech_like, tone

CONFIG = SegmentsConfig()
HOP = CONFIG.hop


def track(pattern: list[tuple[float, float]], *, seed: int = 0) -> np.ndarray:
    """Return levels a hop: (seconds, dB) after (seconds, dB), a little uneven."""
    parts = [np.full(max(1, round(seconds / HOP)), db) for seconds, db in pattern]
    level = np.concatenate(parts)
    return level + np.random.default_rng(seed).uniform(-1, 1, len(level))


PIECES = st.lists(
    st.tuples(st.floats(0.02, 15.0), st.one_of(st.just(-70.0), st.floats(-80.0, 0.0))), min_size=1, max_size=40
)


@settings(deadline=None)  # a busy machine is no fault
@given(pattern=PIECES, seed=st.integers(0, 9))
def test_every_piece_has_the_allowed_length_and_no_speech_is_lost(
    pattern: list[tuple[float, float]], seed: int
) -> None:
    level = track(pattern, seed=seed)
    runs = speech_runs(level, HOP, CONFIG)
    pieces = cut_at_pauses(level, HOP, CONFIG)
    total = len(level) * HOP
    assert bool(runs) == bool(pieces)
    covered = np.zeros(len(level), dtype=bool)
    last = 0.0
    for start, end in pieces:
        assert 0 <= last <= start + 1e-6 < end <= total + 1e-6, "in order, without overlap, inside"
        assert end - start <= CONFIG.max_seconds + 1e-6
        assert end - start >= min(CONFIG.min_seconds, total) - 1e-6
        low, high = round(start / HOP), round(end / HOP)
        assert any(first < high and after > low for first, after in runs), "holds speech"
        covered[low:high] = True
        last = end
    for first, after in runs:
        assert covered[first:after].all()


@settings(deadline=None)  # a busy machine is no fault
@given(pattern=PIECES)
def test_pauses_are_as_long_and_speech_runs_as_loud_as_said(pattern: list[tuple[float, float]]) -> None:
    level = track(pattern)
    runs = speech_runs(level, HOP, CONFIG)
    for (_, after), (first, _) in itertools.pairwise(runs):
        assert (first - after) * HOP >= CONFIG.min_pause - 1e-9
    assert all((after - first) * HOP >= CONFIG.min_speech - 1e-9 for first, after in runs)


def test_cut_is_in_the_longest_pause() -> None:
    level = track([(5, -20), (0.4, -60), (3, -20), (0.8, -60), (4, -20), (0.4, -60), (5, -20)])
    (start, end), (second, last) = cut_at_pauses(level, HOP, CONFIG)
    assert (start, last) == (0.0, pytest.approx(18.6))
    assert end == pytest.approx(8.4 + CONFIG.padding, abs=0.02)
    assert second == pytest.approx(9.2 - CONFIG.padding, abs=0.02)


def test_of_two_pauses_of_one_length_the_deeper_is_cut() -> None:
    level = track([(0.5, -70), (4, -20), (0.5, -55), (4, -20), (0.5, -75), (4, -20), (0.5, -70)])
    (_, end), (start, _) = cut_at_pauses(level, HOP, CONFIG)
    assert (end, start) == (pytest.approx(9.15, abs=0.02), pytest.approx(9.35, abs=0.02))


def test_without_a_pause_the_quietest_place_is_cut() -> None:
    level = track([(7.5, -20), (0.1, -35), (7.4, -20)])
    assert cut_at_pauses(level, HOP, CONFIG) == [
        (0.0, pytest.approx(7.55, abs=0.06)),
        (pytest.approx(7.55, abs=0.06), 15.0),
    ]


def test_even_noise_without_any_pause_is_cut_into_pieces_without_loss() -> None:
    pieces = cut_at_pauses(np.zeros(6000), HOP, CONFIG)
    assert pieces[0][0] == 0.0
    assert pieces[-1][1] == 60.0
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(pieces))
    assert all(1 <= end - start <= 11 for start, end in pieces)


def test_long_silence_is_left_out_and_clicks_are_no_speech() -> None:
    level = track([(6, -90), (0.03, -20), (6, -90), (3, -20), (9, -90), (0.3, -20), (5, -90)])
    assert cut_at_pauses(level, HOP, CONFIG) == [
        (pytest.approx(12.03 - 0.15, abs=0.02), pytest.approx(15.03 + 0.15, abs=0.02)),
        (pytest.approx(24.18 - 0.5, abs=0.02), pytest.approx(24.18 + 0.5, abs=0.02)),  # widened to a second
    ]


def test_nothing_in_nothing_out() -> None:
    assert cut_at_pauses([], HOP, CONFIG) == []
    assert cut_at_pauses(track([(20, -90), (0.02, -10)]), HOP, CONFIG) == []


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(ValidationError, match="max_seconds"):
        SegmentsConfig(min_seconds=6)


# ---- levels


def test_levels(make_sound: Callable[..., Path]) -> None:
    path = make_sound(np.concatenate([tone(1.0, rate=16000), np.zeros(16080)]))
    rms_db, seconds = levels(path, start=0.0, end=None, config=CONFIG)
    assert seconds == pytest.approx(2.005)
    assert len(rms_db) == 201
    assert np.allclose(rms_db[5:95], 20 * math.log10(0.5 / math.sqrt(2)), atol=0.5)
    assert (rms_db[103:] == -100).all()


def test_levels_do_not_depend_on_the_blocks(make_sound: Callable[..., Path]) -> None:
    path = make_sound(np.random.default_rng(0).normal(0, 0.1, 16000 * 250))  # more than two blocks of 100 s
    rms_db, seconds = levels(path, start=0.0, end=None, config=CONFIG)
    assert (seconds, len(rms_db)) == (250.0, 25000)
    part, _ = levels(path, start=99.5, end=100.5, config=CONFIG)
    assert np.allclose(part[1:-1], rms_db[9951:10049], atol=1e-4)


# ---- the extractor

TALK = [(0.5, False), (4.0, True), (0.5, False), (5.0, True), (0.4, False), (3.0, True), (0.6, False)]  # 14 s


@pytest.fixture
def extract() -> SegmentsExtractor:
    return SegmentsExtractor(CONFIG)


def test_short_clip_stays_whole(extract: SegmentsExtractor, make_sound: Callable[..., Path]) -> None:
    row = extract({"media_path": str(make_sound(speech_like(TALK[:3])))})
    assert row == {
        "segments": [{"start": 0.0, "end": 5.0}],
        "has_audio": True,
        "has_video": False,
        "fps": None,
        "sample_rate": 16000,
        "duration": 5.0,
    }


def test_long_recording_is_cut(extract: SegmentsExtractor, make_sound: Callable[..., Path]) -> None:
    path = make_sound(speech_like(TALK))
    first, second = extract({"media_path": str(path)})["segments"]
    assert first == {"start": pytest.approx(0.35, abs=0.03), "end": pytest.approx(4.65, abs=0.03)}
    assert second == {"start": pytest.approx(4.85, abs=0.03), "end": pytest.approx(13.55, abs=0.03)}
    assert extract({"media_path": str(path)}) == extract({"media_path": str(path)})


def test_labelled_clip_is_never_cut(extract: SegmentsExtractor, make_sound: Callable[..., Path]) -> None:
    row = extract({"media_path": str(make_sound(speech_like(TALK))), "labelled": True})
    assert row["segments"] == [{"start": 0.0, "end": 14.0}]


def test_times_of_the_manifest_make_one_segment(extract: SegmentsExtractor, make_sound: Callable[..., Path]) -> None:
    path = str(make_sound(speech_like(TALK)))
    assert extract({"media_path": path, "start": 1.0, "end": 13.5})["segments"] == [{"start": 1.0, "end": 13.5}]
    assert extract({"media_path": path, "start": 2.0, "end": None})["segments"] == [{"start": 2.0, "end": 14.0}]
    assert extract({"media_path": path, "start": None, "end": 14.04})["segments"] == [{"start": 0.0, "end": 14.0}]
    unset = {"media_path": path, "start": math.nan, "end": math.nan}
    assert len(extract(unset)["segments"]) == 2


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"start": 15.0}, "start 15 s is outside the clip, which lasts 14.00 s"),
        ({"start": -1.0}, "start -1 s is outside"),
        ({"end": 14.2}, "end 14.2 s is outside"),
        ({"start": 3.0, "end": 2.0}, "end 2 s is not after start 3 s"),
        ({"start": 3.0, "end": 3.2}, "0.20 s is shorter than 1 s"),
        ({"start": 3.0, "end": 3.2, "labelled": True}, "0.20 s is shorter than 0.3 s"),
    ],
)
def test_wrong_times(
    extract: SegmentsExtractor, make_sound: Callable[..., Path], times: dict[str, float], reason: str
) -> None:
    with pytest.raises(Quarantined) as caught:
        extract({"media_path": str(make_sound(speech_like(TALK))), **times})
    assert reason in str(caught.value)


def test_too_short(extract: SegmentsExtractor, make_sound: Callable[..., Path]) -> None:
    path = str(make_sound(tone(0.5, rate=16000)))
    with pytest.raises(Quarantined, match=r"0\.50 s is shorter than 1 s \(segments\.min_seconds\)"):
        extract({"media_path": path})
    assert extract({"media_path": path, "labelled": True})["segments"] == [{"start": 0.0, "end": 0.5}]


@pytest.mark.parametrize("level", [0.0, 1 / 32768])
def test_clip_without_signal(extract: SegmentsExtractor, make_sound: Callable[..., Path], level: float) -> None:
    path = make_sound(np.where(np.arange(32000) % 2, level, -level))
    with pytest.raises(Quarantined, match="no audio signal"):
        extract({"media_path": str(path), "labelled": True})


def test_film_without_sound(extract: SegmentsExtractor, make_film: Callable[..., Path]) -> None:
    with pytest.raises(Quarantined, match="no audio stream"):
        extract({"media_path": str(make_film(counting_images(50)))})


def test_segment_ends_with_the_sound(extract: SegmentsExtractor, make_film: Callable[..., Path]) -> None:
    row = extract({"media_path": str(make_film(counting_images(75), tone(2.0), name="film.mkv"))})
    assert row["segments"] == [{"start": 0.0, "end": pytest.approx(2.0, abs=0.03)}]
    assert (row["duration"], row["has_video"], row["fps"]) == (pytest.approx(3.0, abs=0.03), True, 25.0)


@pytest.mark.parametrize("name", ["cut.wav", "cut.flac"])
def test_cut_off_file(extract: SegmentsExtractor, make_sound: Callable[..., Path], name: str) -> None:
    path = make_sound(speech_like(TALK), name=name)
    assert extract({"media_path": str(path)})["segments"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Quarantined, match=r"cut off"):
        extract({"media_path": str(path)})


def test_real_testimony_is_cut_at_pauses(extract: SegmentsExtractor) -> None:
    path = next((SHARED / "data" / "trial").rglob("trial_lie_006.mp4"), None)
    if path is None:
        pytest.skip("no folder of real clips (../shared/data)")
    pieces = extract({"media_path": str(path)})["segments"]
    assert len(pieces) >= 2
    assert sum(piece["end"] - piece["start"] for piece in pieces) > 14


@pytest.mark.parametrize("item", [{"labelled": True}, {"start": 0.5, "end": 5.5}])
def test_a_clip_that_is_not_cut_is_not_read_whole_when_it_is_long(
    make_sound: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, item: dict[str, object]
) -> None:
    path = make_sound(speech_like([(6.0, True)]))
    extract = SegmentsExtractor(SegmentsConfig(max_whole_seconds=4.0))
    assert len(extract({"media_path": path})["segments"]) == 1
    monkeypatch.setattr("pipeline.segments.levels", lambda *args, **kwargs: pytest.fail("was decoded"))
    with pytest.raises(Quarantined, match=r"longer than 4 s.*segments\.max_whole_seconds"):
        extract({"media_path": path, **item})
