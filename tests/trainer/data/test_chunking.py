from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.chunking import Chunking, Window


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
