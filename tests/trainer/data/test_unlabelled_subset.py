"""Smaller amounts of unlabelled speech are parts of larger ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.rows import speaker_keys
from trainer.data.splits import unlabelled_subset


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    by=st.sampled_from(["clips", "speakers"]),
    seed=st.integers(0, 5),
)
def test_smaller_draws_of_unlabelled_speech_lie_in_larger_ones(
    sizes: list[int], shares: tuple[float, float], by: str, seed: int
) -> None:
    """Clips of 1-9 segments, three clips a speaker; whole groups, and no other draw for an equal seed."""
    clips = np.repeat(np.arange(len(sizes)), sizes)
    rows = pd.DataFrame({"corpus": "c", "speaker": [f"s{clip // 3}" for clip in clips], "clip_id": clips.astype(str)})
    rows["segment_id"] = [str(number) for number in range(len(rows))]
    small, large = (
        unlabelled_subset(rows, fraction=share, by=by, rng=np.random.default_rng(seed)) for share in sorted(shares)
    )
    assert set(small) <= set(large)
    assert len(small)
    groups = np.array(rows["clip_id"]) if by == "clips" else speaker_keys(rows)
    for draw in (small, large):
        outside = np.setdiff1d(np.arange(len(rows)), draw)
        assert not set(groups[draw]) & set(groups[outside])
    if by == "clips":
        assert set(rows["speaker"][small]) == set(rows["speaker"])
    whole = unlabelled_subset(rows, fraction=1.0, by=by, rng=np.random.default_rng(seed))
    assert len(whole) == len(rows)
