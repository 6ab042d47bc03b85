"""Classes for the task ``viseme`` where nobody aligned the speech: clusters of mouth shapes [ours].

They are made of the movement itself, so that they tell a network nothing the movement does not; they only say it in
classes. Named ``shape_00`` and so on, never by the phones that visemes stand for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from trainer.data.arrays import IntArray
from trainer.data.rows import MISSING
from trainer.data.shards import Shards
from trainer.data.tracks import TrackScale
from trainer.errors import InputError
from trainer.training.clusters import fit_kmeans


@dataclass(frozen=True)
class ShapedShards(Shards):
    """Shards with clusters of mouth shapes in place of visemes."""

    shapes: npt.NDArray[np.int8] = field(repr=False, kw_only=True)  # (total frames, 1)

    @property
    def viseme(self) -> npt.NDArray[np.int8]:
        """Cluster of all frames."""
        return self.shapes


def shape_names(count: int) -> tuple[str, ...]:
    """Name the clusters.

    >>> shape_names(2)
    ('shape_00', 'shape_01')
    """
    return tuple(f"shape_{number:02d}" for number in range(count))


def with_mouth_shapes(shards: Shards, train: IntArray, scale: TrackScale, *, count: int, seed: int) -> ShapedShards:
    """Return the shards with clusters of mouth shapes in place of visemes, on every frame with a face.

    K-means is fitted to the frames of the ``train`` rows alone, in the standard deviations of ``scale``; every other
    frame goes to the nearest centre.

    Raises:
        InputError: there are fewer training frames than clusters.
    """
    rows = np.repeat(np.arange(len(shards.rows)), shards.lengths)
    coordinates = scale.apply(np.asarray(shards.mouth), rows)
    has_face = np.isfinite(coordinates).all(axis=1)
    fitted = has_face & np.isin(rows, train)
    if fitted.sum() < count:
        raise InputError(f"orofacial: {fitted.sum()} frames with a face cannot make shapes = {count}: lower it")
    shapes = np.full((len(rows), 1), MISSING, np.int8)
    clusters = fit_kmeans(coordinates[fitted], k=count, seed=seed)
    with threadpool_limits(limits=1):
        shapes[has_face, 0] = clusters.predict(coordinates[has_face])
    values = {item.name: getattr(shards, item.name) for item in fields(Shards)}
    values["frame_names"] = {**shards.frame_names, "viseme": shape_names(count)}
    return ShapedShards(**values, shapes=shapes)
