"""Classes for the task ``viseme`` where nobody aligned the speech: clusters of what the mouth looks like [ours].

They are made of the movement itself, so that they tell a network nothing the movement does not; they only say it in
classes. Named ``shape_00`` and so on, never by the phones that visemes stand for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from trainer.data.arrays import IntArray
from trainer.data.rows import MISSING
from trainer.data.shards import Shards
from trainer.data.tracks import TrackScale
from trainer.errors import InputError


def shape_names(count: int) -> tuple[str, ...]:
    """Name the clusters.

    >>> shape_names(2)
    ('shape_00', 'shape_01')
    """
    return tuple(f"shape_{number:02d}" for number in range(count))


def with_mouth_shapes(shards: Shards, train: IntArray, scale: TrackScale, *, count: int, seed: int) -> Shards:
    """Return the shards with clusters of mouth shapes in place of visemes, on every frame with a face.

    K-means (scikit-learn, on one thread) is fitted to the frames of the ``train`` rows alone, in the standard
    deviations of ``scale``; every other frame goes to the nearest centre. Raises InputError for fewer training frames
    than clusters.
    """
    rows = np.repeat(np.arange(len(shards.rows)), shards.lengths)
    shapes = scale.apply(np.asarray(shards.mouth), rows)
    seen = np.isfinite(shapes).all(axis=1)
    heard = seen & np.isin(rows, train)
    if heard.sum() < count:
        raise InputError(f"{heard.sum()} frames with a face cannot make orofacial.shapes = {count}: lower it")
    classes = np.full((len(rows), 1), MISSING, np.int8)
    with threadpool_limits(limits=1):  # the order of sums over threads is not fixed
        machine = KMeans(count, n_init=1, random_state=seed).fit(shapes[heard])
        classes[seen, 0] = machine.predict(shapes[seen])
    changed = replace(shards, frame_names={**shards.frame_names, "viseme": shape_names(count)})
    changed.__dict__["viseme"] = classes  # what its cached property would read from the map
    return changed
