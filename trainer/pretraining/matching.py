"""Matching voice and face: which of a speaker's faces goes with which of their voices [ours].

A segment's face is described by statistics of its tracks of action units and movement, less the speaker's own mean. The
network is to find it by the voice among the faces of other segments of the same speaker, and the voice by the face: who
somebody is, what the camera is like and how the light falls help nobody, how they speak at the time does. The loss is
that of contrastive learning (InfoNCE: van den Oord et al. 2018, eq. 4), with negatives of the same speaker alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.data.arrays import IntArray
from trainer.data.rows import MISSING
from trainer.data.shards import Shards
from trainer.data.tracks import DENSE, FACE_GROUPS, face_statistics, has_targets, track_columns
from trainer.errors import InputError


@dataclass(frozen=True)
class FaceVectors:
    """A description of the face of every shard row, and whose it is."""

    vectors: npt.NDArray[np.float32]  # (N, D) training standard deviations from the speaker's mean; 0 without a face
    speakers: IntArray  # (N,) number of the speaker, `MISSING` for a row without a face

    @property
    def size(self) -> int:
        """D."""
        return self.vectors.shape[1]

    @property
    def whose(self) -> IntArray:
        """Speaker and segment of every row, (N, 2)."""
        return np.stack([self.speakers, np.arange(len(self.speakers))], axis=1)

    @classmethod
    def of(cls, shards: Shards, train: IntArray, *, clip: float, partners: IntArray | None = None) -> FaceVectors:
        """Describe all rows of ``shards`` by the tracks that training rows have.

        A row that lacks any of these throughout has no face.

        Args:
            shards: with dense tracks.
            train: rows whose deviation scales the vectors.
            clip: standard deviations.
            partners: (N,) row whose face a row gets, for a negative control; None: its own.

        Raises:
            InputError: the shards hold no tracks of the face, or no training speaker has two segments with a face.
        """
        columns = track_columns(shards, FACE_GROUPS)
        columns = columns[has_targets(shards, train, [shards.frame_names[DENSE][column] for column in columns])]
        if not len(columns):
            raise InputError(
                f"{shards.folder} has no tracks of the face in its training segments (pretrain.matching): name motion "
                "and aus in shards.dense.groups and run the shards stage again; see the reasons in the faces table"
            )
        described = face_statistics(shards, np.arange(len(shards.rows)), columns)
        has = np.isfinite(described[:, 0])
        names, speakers = np.unique(shards.speakers, return_inverse=True)
        for number in range(len(names)):
            own = has & (speakers == number)
            if own.any():
                described[own] -= described[own].mean(axis=0)
        if partners is not None:  # the exchanged face has its own speaker's mean subtracted already
            described, has = described[partners], has[partners]
        if np.bincount(speakers[train][has[train]], minlength=1).max() < 2:
            raise InputError(
                f"{shards.folder}: no training speaker has two segments with a face, so that there is nothing to match "
                "(pretrain.matching)"
            )
        scale = np.maximum(described[train][has[train]].std(axis=0), 1e-6)
        vectors = np.where(has[:, None], np.clip(described / scale, -clip, clip), 0.0)
        return cls(vectors.astype(np.float32), np.where(has, speakers, MISSING))


@dataclass(frozen=True)
class MatchingLoss:
    """Cross-entropy of finding the own face by the voice, and the own voice by the face, among those of the speaker."""

    def __call__(self, scores: Tensor, whose: Tensor) -> Tensor:
        """Compute it.

        Args:
            scores: (B, 2, E) of voice and face, of unit length times the root of the temperature's inverse.
            whose: (B, 2) numbers of speaker, `MISSING` without a face, and segment. Another copy of a segment, which an
                even draw may bring into its batch, is no wrong answer.

        Returns:
            A scalar; 0 with zero gradients where no speaker has two segments in the batch.
        """
        voice, face = scores.unbind(dim=1)
        speakers, segments = whose.unbind(dim=1)
        has = speakers != MISSING
        same = (speakers[:, None] == speakers[None, :]) & has[:, None] & has[None, :]
        copy = (segments[:, None] == segments[None, :]) & ~torch.eye(len(whose), dtype=torch.bool, device=whose.device)
        same &= ~copy
        use = same.sum(dim=1) > 1
        if not bool(use.any()):
            return scores.sum() * 0.0
        alike = (voice @ face.T).masked_fill(~same, -torch.inf)
        own = torch.arange(len(scores), device=scores.device)[use]
        found = [torch.log_softmax(table[use], dim=1)[torch.arange(len(own)), own] for table in (alike, alike.T)]
        return -torch.stack(found).mean()
