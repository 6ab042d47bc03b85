"""Which segments an epoch goes through."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.pretraining.draw import draw, epoch_order


@given(st.integers(1, 20), st.integers(1, 60), st.integers(0, 5))
def test_every_row_of_film_is_drawn_equally_often_up_to_one(count: int, size: int, seed: int) -> None:
    drawn = draw(count, size=size, rng=np.random.default_rng(seed))
    times = np.bincount(drawn, minlength=count)
    assert len(drawn) == size
    assert times.max() - times.min() <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.booleans(), st.integers(1, 5), st.integers(0, 99))
def test_an_epoch_is_even_over_speakers_or_over_segments(sizes: list[int], even: bool, group: int, seed: int) -> None:
    speakers = np.repeat([f"s{i}" for i in range(len(sizes))], sizes).astype(object)
    order = epoch_order(speakers, np.random.default_rng(seed), even=even, group=group)
    counts = Counter(speakers[order])
    if even:
        assert set(counts.values()) == {-(-sum(sizes) // len(sizes))}
        for number, size in enumerate(sizes):  # nobody's segment comes twice before all have come
            each = Counter(order[speakers[order] == f"s{number}"].tolist())
            assert max(each.values()) - (0 if len(each) < size else min(each.values())) <= 1
    else:
        assert sorted(order.tolist()) == list(range(sum(sizes)))


def test_groups_stand_side_by_side() -> None:
    speakers = np.repeat(["a", "b", "c"], 8).astype(object)
    order = epoch_order(speakers, np.random.default_rng(0), even=False, group=4)
    assert all(len(set(speakers[order[first : first + 4]])) == 1 for first in range(0, 24, 4))
