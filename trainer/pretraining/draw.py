"""Which segments an epoch of pretraining, or of a side task, goes through, and in which order [ours]."""

from __future__ import annotations

import numpy as np

from trainer.data.arrays import IntArray
from trainer.data.rows import Texts


def draw(count: int, *, size: int, rng: np.random.Generator) -> IntArray:
    """Draw ``size`` of ``count`` positions, all equally often up to one, in random order.

    >>> sorted(draw(3, size=6, rng=np.random.default_rng(0)).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    return np.concatenate([rng.permutation(count) for _ in range(-(-size // count))])[:size]


def epoch_order(speakers: Texts, rng: np.random.Generator, *, even: bool, group: int = 1) -> IntArray:
    """Return the positions of an epoch, about as many as there are segments.

    Args:
        speakers: (N,) whose segment each is.
        rng: of the draw.
        even: every speaker equally often, so that one with a thousand films teaches no more than others: segments of a
            speaker with few come several times, of one with many some are left out. Else every segment once.
        group: of a speaker's segments so many stand side by side; what is left of each comes at the epoch's end.
    """
    names, own = np.unique(speakers, return_inverse=True)
    each = -(-len(own) // len(names))
    groups = []
    for number in range(len(names)):
        segments = np.flatnonzero(own == number)
        drawn = segments[draw(len(segments), size=each if even else len(segments), rng=rng)]
        groups += [drawn[first : first + group] for first in range(0, len(drawn), group)]
    order = rng.permutation(len(groups))
    full = np.array([len(groups[place]) == group for place in order])
    return np.concatenate([groups[place] for place in (*order[full], *order[~full])])
