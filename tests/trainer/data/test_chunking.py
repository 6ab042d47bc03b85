from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import FRAME_PERIOD, N_FEATURES, labelled_rows
from trainer.data.chunking import Chunking, Window, chunking_for, longest_seconds, note_long_clips
from trainer.data.shards import Shards, open_shards
from trainer.errors import Notice
from trainer.params import EncoderParams


@given(st.integers(1, 40), st.integers(1, 13), st.integers(1, 700))
def test_chunks_are_counted_end_exactly_and_cover_everything_up_to_t_max(m: int, count: int, length: int) -> None:
    chunking = Chunking(frames=m, count=count)
    starts = chunking.starts([length])
    frame_mask, chunk_mask = chunking.masks([length], starts)
    assert starts.shape == (1, count)
    assert frame_mask.shape == (1, count, m)
    assert (np.diff(starts[0]) >= 0).all()
    real = starts[0][chunk_mask[0]]
    assert real[0] == 0 or count == 1
    assert real[-1] + m == max(length, m)  # the end is exact, or the only chunk is padded
    covered = np.unique((starts[..., None] + np.arange(m))[frame_mask])
    assert covered.max() == length - 1
    if length <= count * m:
        assert len(covered) == length
    if length >= m:
        assert frame_mask[chunk_mask].all()  # no padding inside a real chunk


@given(st.integers(2, 40), st.integers(2, 13), st.integers(0, 40))
def test_starts_are_the_published_ones_wherever_the_division_is_exact(m: int, count: int, delta: int) -> None:
    starts = Chunking(frames=m, count=count).starts([m + delta * (count - 1)])
    assert starts[0].tolist() == [number * delta for number in range(count)]


@given(st.integers(1, 40), st.integers(2, 13), st.integers(1, 700))
def test_starts_stay_within_i_frames_of_the_published_ones(m: int, count: int, length: int) -> None:
    starts = Chunking(frames=m, count=count).starts([length])[0]
    delta = max(length - m, 0) // (count - 1)
    late = starts - delta * np.arange(count)
    assert (late >= 0).all()
    assert (late <= np.arange(count)).all()


def test_copies_of_a_short_chunk_are_masked() -> None:
    chunking = Chunking(frames=10, count=4)
    starts = chunking.starts([3, 11, 13])
    frame_mask, chunk_mask = chunking.masks([3, 11, 13], starts)
    assert chunk_mask.tolist() == [[True, False, False, False], [True, False, False, True], [True] * 4]
    assert frame_mask[0].sum() == 3


@pytest.mark.parametrize(
    ("max_seconds", "n", "expected"), [(11.0, 1, 11), (11.0, 3, 33), (5.01, 1, 6), (5.0, 1, 5), (0.3, 1, 1)]
)
def test_number_of_chunks_follows_the_longest_utterance(max_seconds: float, n: int, expected: int) -> None:
    chunking = Chunking.fit(chunk_seconds=1.0, max_seconds=max_seconds, chunks_per_second=n, frame_period=0.01)
    assert (chunking.frames, chunking.count) == (100, expected)


@given(st.integers(1, 4000), st.integers(1, 3), st.sampled_from([0.01, 0.016, 0.02, 0.05]))
def test_the_number_of_chunks_is_counted_in_seconds(length: int, n: int, period: float) -> None:
    """11 s in frames of 16 ms are 11 chunks of one second, not 12 of 62 frames (Lin & Busso 2021)."""
    chunking = Chunking.fit(chunk_seconds=1.0, max_seconds=length * period, chunks_per_second=n, frame_period=period)
    half = period / 2
    assert chunking.count % n == 0
    assert chunking.count // n - 1 < max(length * period - half, half) + 1e-6
    assert chunking.count // n >= length * period - half - 1e-6
    for frames in (687, 688):  # 11 s is no whole number of these frames
        paper = Chunking.fit(chunk_seconds=1.0, max_seconds=frames * 0.016, chunks_per_second=1, frame_period=0.016)
        assert (paper.frames, paper.count) == (62, 11)


def test_an_empty_utterance_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        Chunking(frames=4, count=2).starts([0])


@given(st.integers(1, 90), st.integers(1, 300))
def test_one_window_covers_what_fits_and_takes_the_exact_middle_of_what_does_not(m: int, length: int) -> None:
    """Padding is the case length <= m, which every training utterance meets; cropping is both."""
    window = Window.of(seconds=m * 0.016, frame_period=0.016)
    assert (window.frames, window.count) == (m, 1)
    starts = window.starts([length])
    frame_mask, chunk_mask = window.masks([length], starts)
    assert starts.shape == (1, 1)
    assert chunk_mask.all()
    covered_frames = (starts[..., None] + np.arange(m))[frame_mask]
    if length <= m:
        assert covered_frames.tolist() == list(range(length))
        assert frame_mask.sum() == length  # the rest is masked
    else:
        before, after = covered_frames[0], length - 1 - covered_frames[-1]
        assert len(covered_frames) == m
        assert after - before in (0, 1)


def test_a_window_is_one_chunk() -> None:
    with pytest.raises(ValueError, match="a window is one chunk"):
        Window(frames=4, count=2)
    with pytest.raises(ValueError, match="at least one frame"):
        Window(frames=4, count=1).starts([0])


def _of_lengths(make_shards: Callable[..., Path], cache: Path, seconds: list[float]) -> Shards:
    rows: list[dict[str, Any]] = []
    for number, each in enumerate(seconds):
        frames = round(each / FRAME_PERIOD)
        row = labelled_rows(speakers=("a",), per_class=1)[0]
        rows.append({**row, "segment_id": f"s{number}", "n_frames": frames, "features": [0.5] * frames * N_FEATURES})
    return open_shards(make_shards("l", rows), cache=cache)


@pytest.mark.parametrize("outliers", [1, 5])
def test_a_few_clips_of_minutes_do_not_lengthen_everyone(
    make_shards: Callable[..., Path], tmp_path: Path, outliers: int
) -> None:
    usual = np.linspace(1.5, 4.0, 70 - outliers).tolist()
    shards = _of_lengths(make_shards, tmp_path / "cache", [*usual, *[300.0] * outliers])
    rows = np.arange(70)
    assert 11.0 <= longest_seconds(shards, rows) <= 20.0
    assert chunking_for(shards, rows, EncoderParams()).count <= 20
    with pytest.warns(
        Notice, match=rf"{outliers} of 70 segments .*s{70 - outliers} with 300\.0 s.*encoder\.max_seconds"
    ):
        note_long_clips(shards, rows, EncoderParams())
    assert chunking_for(shards, rows, EncoderParams(max_seconds=300.0)).count == 300


@pytest.mark.parametrize("longest", [2.0, 10.9, 17.0])
def test_the_longest_clip_of_an_ordinary_corpus_counts(
    make_shards: Callable[..., Path], tmp_path: Path, longest: float
) -> None:
    shards = _of_lengths(make_shards, tmp_path / "cache", [*np.linspace(0.5, 4.0, 20).tolist(), longest])
    rows = np.arange(21) if longest > 4 else np.arange(9)
    assert longest_seconds(shards, rows) == float(shards.lengths[rows].max() * FRAME_PERIOD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        note_long_clips(shards, rows, EncoderParams())
