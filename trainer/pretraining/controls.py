"""Negative controls: what the face says is given to the wrong speech, all else being equal.

``exchanged``: labels and tracks of the face come from another segment of the same corpus; the energy stays in place.
``shifted``: the tracks of the face are moved by half the segment, so that they belong to the segment and not to the
moment; labels of segments stay, since they have no time. What a network gains by either is not the face's [ours].
"""

from __future__ import annotations

import numpy as np

from trainer.data.arrays import IntArray
from trainer.data.rows import Texts
from trainer.data.shards import Shards
from trainer.data.tracks import FACE_GROUPS, MovedTracks, track_columns
from trainer.params import PretrainParams
from trainer.pretraining.tasks import OF_FACE


def partners(shards: Shards, allowed: IntArray, *, seed: int) -> IntArray:
    """Return for every row (N,) the one whose face it gets.

    Args:
        shards: of the films.
        allowed: (M,) rows that may be used; each gets another one of its corpus, and each is taken once. All others,
            and the only one of a corpus, keep their own.
        seed: of the draw.
    """
    rng = np.random.default_rng([seed, 3])
    result = np.arange(len(shards.rows))
    for corpus in sorted(set(shards.corpora[allowed])):
        order = rng.permutation(allowed[shards.corpora[allowed] == corpus])
        result[order] = np.roll(order, 1)  # one cycle through all rows: none meets itself
    return result


def relabel(labels: Texts, number: int, shards: Shards, allowed: IntArray, options: PretrainParams) -> Texts:
    """Return the labels (N,) of task ``number`` as ``pretrain.faces`` has them."""
    if options.faces == "exchanged" and number in OF_FACE:
        return labels[partners(shards, allowed, seed=options.seed)]
    return labels


def moved_tracks(shards: Shards, allowed: IntArray, options: PretrainParams) -> MovedTracks | None:
    """Return where the tracks of the face come from; None where they are the segment's own."""
    if options.faces == "own":
        return None
    columns = track_columns(shards, FACE_GROUPS)
    if options.faces == "exchanged":
        return MovedTracks(columns, partners(shards, allowed, seed=options.seed), 0.0)
    return MovedTracks(columns, np.arange(len(shards.rows)), 0.5)
