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
from trainer.data.rows import Target
from trainer.data.shards import Shards
from trainer.data.tracks import FrameTargets

KEEP_BYTES = 1 << 29  # chunked sets below this are made once and kept


@dataclass(frozen=True)
class Batch:
    """B utterances; masks are True where something is real.

    Targets of the utterance are (B,) or (B, outputs), see `Target`; those of frame heads (B, nC, L, K) float32, NaN
    where there is none; visemes (B, nC, L) classes.
    """

    x: Tensor  # (B, nC, m, F) float32, zero where padded
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
    """Which part of every utterance is used: ``share`` of its frames, from the beginning or out of the middle."""

    share: float = 1.0
    side: Literal["beginning", "middle"] = "middle"

    def spans(self, lengths: npt.ArrayLike) -> tuple[IntArray, IntArray]:
        """First used frame and number of used frames, (N,) each, of utterances of (N,) frames; at least one frame.

        >>> [span.tolist() for span in Cut(0.5).spans([8, 1])]
        [[2, 0], [4, 1]]
        """
        lengths = np.asarray(lengths, dtype=np.int64)
        kept = np.maximum(1, np.round(self.share * lengths).astype(np.int64))
        return (lengths - kept) // 2 if self.side == "middle" else np.zeros_like(lengths), kept


@dataclass(frozen=True)
class Pieces:
    """A part of its own of every row: first frame and number of frames, (N,) each."""

    first: IntArray
    count: IntArray

    def spans(self, lengths: npt.ArrayLike) -> tuple[IntArray, IntArray]:
        """As `Cut.spans`; ``lengths`` are known already."""
        return self.first, self.count


WHOLE = Cut()


class ChunkDataset(Dataset[Batch]):
    """Map-style data set of chosen shard rows; PyTorch's DataLoader fetches whole batches at once.

    Args:
        shards: where the rows are.
        rows: (N,) indices into the shards.
        chunking: of the utterances.
        normalisation: of the features.
        targets: name to the labels of the N rows, see `Target`; may be empty (prediction).
        frames: targets on every frame.
        cut: less than whole utterances (normalisation by speaker still looks at all of the speaker's rows).
        keep_bytes: chunked sets below this are made once and kept, since gathering them anew takes about as long as
            training on them.

    Raises:
        ValueError: a target has not one label a row.
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
        cut: Cut | Pieces = WHOLE,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        self.shards = shards
        self.rows = np.asarray(rows, dtype=np.int64)
        self.chunking = chunking
        self.normalisation = normalisation
        first, self._lengths = cut.spans(shards.lengths[self.rows])
        # of a cut utterance no more is known; its pieces stay parts of the whole
        part = (first, self._lengths) if isinstance(cut, Cut) and cut != WHOLE else None
        self._mean, self._std = normalisation.of_rows(shards, self.rows, part=part)
        self._first = shards.offsets[self.rows] + first
        self.targets = {name: np.asarray(value) for name, value in (targets or {}).items()}
        for name, value in self.targets.items():
            if len(value) != len(self.rows):
                raise ValueError(f"{name}: {value.shape} labels for {self.rows.shape} rows")
        self.frames = frames
        size = 4 * len(self.rows) * chunking.count * chunking.frames * len(shards.feature_names)
        self._kept = self._gather(range(len(self.rows))) if 0 < size <= keep_bytes else None

    def __len__(self) -> int:
        return len(self.rows)

    def truth(self) -> dict[str, Tensor]:
        """Targets of all rows, in row order."""
        return (self._kept or self._gather(range(len(self.rows)))).targets

    def by_chunk(self) -> ChunkDataset:
        """Return a data set whose rows are this one's real chunks, each with the targets of its utterance.

        Targets on frames are left out.
        """
        lengths = self.shards.lengths[self.rows]
        starts = self.chunking.starts(lengths)
        _, real = self.chunking.masks(lengths, starts)
        of = np.nonzero(real)[0]
        first = starts[real]
        return ChunkDataset(
            self.shards,
            self.rows[of],
            chunking=Chunking(frames=self.chunking.frames, count=1),
            normalisation=self.normalisation,
            targets={name: value[of] for name, value in self.targets.items()},
            cut=Pieces(first, np.minimum(self.chunking.frames, lengths[of] - first)),
        )

    def reside(self, device: str) -> None:
        """Hold the chunks on this device from now on, if they are kept: what a batch takes is then there already."""
        if self._kept is not None:
            kept = self._kept
            x, frame_mask, chunk_mask = (t.to(device) for t in (kept.x, kept.frame_mask, kept.chunk_mask))
            self._kept = replace(kept, x=x, frame_mask=frame_mask, chunk_mask=chunk_mask)

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
        pick = np.asarray(indices)
        lengths = self._lengths[pick]
        starts = self.chunking.starts(lengths)
        frame_mask, chunk_mask = self.chunking.masks(lengths, starts)
        frames = starts[..., None] + np.arange(self.chunking.frames)
        frames = np.minimum(frames, lengths[:, None, None] - 1) + self._first[pick][:, None, None]
        mean, std = (values[pick][:, None, None] for values in (self._mean, self._std))
        x = self.normalisation.apply(np.asarray(self.shards.features[frames]), mean=mean, std=std)
        x[~frame_mask] = 0.0
        targets = {name: value[pick] for name, value in self.targets.items()}
        if self.frames is not None:
            targets |= self.frames.targets(self.shards, self.rows[pick], frames, x, frame_mask)
        tensors = {name: torch.from_numpy(target) for name, target in targets.items()}
        return Batch(torch.from_numpy(x), torch.from_numpy(frame_mask), torch.from_numpy(chunk_mask), tensors)
