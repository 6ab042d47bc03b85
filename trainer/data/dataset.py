"""From shard rows to training batches: normalisation, chunks, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainer.data.arrays import IntArray
from trainer.data.chunking import Chunking
from trainer.data.normalisation import Normalisation
from trainer.data.rows import MISSING, Target
from trainer.data.shards import Shards
from trainer.data.tracks import DENSE, RECONSTRUCTION, VISEME, FrameTargets, pool_frames

KEEP_BYTES = 1 << 29  # chunked sets below this are made once and kept


@dataclass(frozen=True)
class Batch:
    """B utterances: ``x`` (B, nC, m, F) float32, zero where padded; masks True = real; targets see `Target`.

    Targets of frame heads are (B, nC, L, K) float32, NaN where there is none; visemes (B, nC, L) classes.
    """

    x: Tensor
    frame_mask: Tensor  # (B, nC, m) bool
    chunk_mask: Tensor  # (B, nC) bool
    targets: dict[str, Tensor]

    def to(self, device: str) -> Batch:
        """Move to a device."""
        moved = {name: target.to(device) for name, target in self.targets.items()}
        x, frame_mask, chunk_mask = (t.to(device) for t in (self.x, self.frame_mask, self.chunk_mask))
        return replace(self, x=x, frame_mask=frame_mask, chunk_mask=chunk_mask, targets=moved)


@dataclass(frozen=True)
class Cut:
    """How much of every utterance is heard: ``share`` of its frames, from the beginning or out of the middle."""

    share: float = 1.0
    side: Literal["beginning", "middle"] = "middle"

    def spans(self, lengths: npt.ArrayLike) -> tuple[IntArray, IntArray]:
        """First heard frame and number of heard frames, (N,) each, of utterances of (N,) frames; at least one frame.

        >>> [span.tolist() for span in Cut(0.5).spans([8, 1])]
        [[2, 0], [4, 1]]
        """
        lengths = np.asarray(lengths, dtype=np.int64)
        kept = np.maximum(1, np.round(self.share * lengths).astype(np.int64))
        return (lengths - kept) // 2 if self.side == "middle" else np.zeros_like(lengths), kept


WHOLE = Cut()


class ChunkDataset(Dataset[Batch]):
    """Map-style data set of chosen shard rows; PyTorch's DataLoader fetches whole batches at once.

    ``targets``: name to one label (or one row of numbers) a row, see `Target`; may be empty (prediction).
    Chunked sets below ``keep_bytes`` are made once and kept, since gathering them anew takes about as long as
    training on them. ``cut``: less than whole utterances (normalisation by speaker still looks at all of them).
    """

    def __init__(
        self,
        shards: Shards,
        rows: npt.ArrayLike,
        *,
        chunking: Chunking,
        normalisation: Normalisation,
        targets: Mapping[str, Target] | None = None,
        frames: FrameTargets | None = None,
        cut: Cut = WHOLE,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        self.shards = shards
        self.rows = np.asarray(rows, dtype=np.int64)
        self.chunking = chunking
        self.normalisation = normalisation
        self._mean, self._std = normalisation.of_rows(shards, self.rows)
        first, self._lengths = cut.spans(shards.lengths[self.rows])
        self._first = shards.offsets[self.rows] + first
        self.targets = {name: np.asarray(value) for name, value in (targets or {}).items()}
        for name, value in self.targets.items():
            if len(value) != len(self.rows):
                raise ValueError(f"{name}: {value.shape} labels for {self.rows.shape} rows")
        self.frames = frames
        size = 4 * len(self.rows) * chunking.count * chunking.frames * len(shards.feature_names)
        everything = list(range(len(self.rows)))
        self._kept = self._gather(everything) if 0 < size <= keep_bytes else None

    def __len__(self) -> int:
        return len(self.rows)

    def truth(self) -> dict[str, Tensor]:
        """Targets of all rows, in row order."""
        kept = self._kept if self._kept is not None else self._gather(list(range(len(self.rows))))
        return kept.targets

    def relabel(self, name: str, values: Target) -> None:
        """Give all rows other labels of target ``name``, in row order."""
        if len(values) != len(self.rows):
            raise ValueError(f"{name}: {values.shape} labels for {self.rows.shape} rows")
        self.targets[name] = values
        if self._kept is not None:
            self._kept.targets[name] = torch.from_numpy(values)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch of the utterances at ``indices`` (positions in ``rows``)."""
        if self._kept is None:
            return self._gather(indices)
        pick = torch.as_tensor(indices)
        kept = self._kept
        targets = {name: target[pick] for name, target in kept.targets.items()}
        return Batch(kept.x[pick], kept.frame_mask[pick], kept.chunk_mask[pick], targets)

    def _gather(self, indices: Sequence[int]) -> Batch:
        rows = self.rows[np.asarray(indices)]
        lengths = self._lengths[np.asarray(indices)]
        starts = self.chunking.starts(lengths)
        frame_mask, chunk_mask = self.chunking.masks(lengths, starts)
        frames = starts[..., None] + np.arange(self.chunking.frames)
        frames = np.minimum(frames, lengths[:, None, None] - 1) + self._first[np.asarray(indices)][:, None, None]
        mean, std = (values[np.asarray(indices)][:, None, None] for values in (self._mean, self._std))
        x = self.normalisation.apply(np.asarray(self.shards.features[frames]), mean=mean, std=std)
        x[~frame_mask] = 0.0
        targets = {name: torch.from_numpy(value[np.asarray(indices)]) for name, value in self.targets.items()}
        if self.frames is not None and self.frames.scale is not None:
            source = getattr(self.shards, self.frames.scale.source)
            tracks = self.frames.scale.apply(np.asarray(source[frames]), rows)
            tracks[~frame_mask] = np.nan
            targets[DENSE] = torch.from_numpy(pool_frames(tracks, self.frames.step))
        if self.frames is not None and self.frames.visemes:
            classes = np.where(frame_mask, self.shards.viseme[frames, 0], MISSING)
            targets[VISEME] = torch.from_numpy(classes.astype(np.int64))
        if self.frames is not None and self.frames.reconstruct:
            pooled = pool_frames(np.where(frame_mask[..., None], x, np.float32(np.nan)), self.frames.step)
            targets[RECONSTRUCTION] = torch.from_numpy(pooled)
        return Batch(torch.from_numpy(x), torch.from_numpy(frame_mask), torch.from_numpy(chunk_mask), targets)
