"""Targets on every frame: tracks of voice and face over time, visemes, and the features of hidden spans.

Segment labels give one bit a segment; the tracks behind them give a number a frame (ours, named ``dense``). Their heads
read the frame vectors of the chunk encoder (its last convolution), so that these layers learn, and are thrown away with
the other heads. Targets are averaged to the rate of the frame vectors. NaN means that there is no target.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import BoolArray, FloatArray, IntArray
from trainer.data.rows import MISSING, Texts
from trainer.data.shards import Shards

DENSE, RECONSTRUCTION, VECTORS = "dense", "reconstruction", "vectors"  # names of outputs that are no tasks
VISEME = "viseme"
MATCHING, FACE = "matching", "face"  # output and target of matching voice and face; the face that it is about
FACE_GROUPS = ("motion", "aus")  # of the dense tracks: what the face shows; the energy is the voice's
PERCENTILES = (10, 50, 90)
LEAST_FRAMES = 5  # with a face, below which there is nothing to describe
MIN_SEGMENTS = 3  # a speaker with fewer has no typical face or level of their own


@dataclass(frozen=True)
class TrackScale:
    """Dense tracks in standard deviations around a speaker's or segment's own mean, clipped as the features are.

    ``source``: column of the shards, dense or mouth. ``columns``: (K,) places of ``names`` in its tracks. ``mean``,
    ``std``: (K,) over training frames with a target, after centring. ``centres``: (N, K) per shard row what is
    subtracted first; made from the shards at hand.
    """

    names: tuple[str, ...]
    mean: FloatArray
    std: FloatArray
    clip: float
    columns: IntArray = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    centres: FloatArray = field(repr=False, default_factory=lambda: np.zeros((0, 0), np.float32))
    source: str = DENSE

    @classmethod
    def fit(
        cls,
        shards: Shards,
        rows: npt.ArrayLike,
        names: Sequence[str],
        *,
        centre: str,
        clip: float,
        speakers: Texts,
        source: str = DENSE,
    ) -> TrackScale:
        """Statistics over the frames of ``rows`` (indices of TRAINING rows) that have a target, and over no others.

        ``centre``: ``speaker`` subtracts the mean of the speaker's segments (a face's resting level and a microphone's
        gain cannot be known from a voice; speakers with few segments: of the segment), ``segment`` that of the
        segment, ``none`` nothing. ``speakers``: (N,) key of every shard row.
        """
        rows = np.asarray(rows, dtype=np.int64)
        columns = np.array([shards.frame_names[source].index(name) for name in names], dtype=np.int64)
        count, total, square = _row_sums(shards, columns, source)
        centres = total / np.maximum(count, 1) if centre != "none" else np.zeros_like(total)
        if centre == "speaker":
            for speaker in set(speakers):
                same = speakers == speaker
                if same.sum() >= MIN_SEGMENTS:
                    centres[same] = total[same].sum(axis=0) / np.maximum(count[same].sum(axis=0), 1)
        n = np.maximum(count[rows].sum(axis=0), 1)
        shifted = total[rows] - count[rows] * centres[rows]
        squares = square[rows] - 2 * centres[rows] * total[rows] + count[rows] * np.square(centres[rows])
        mean = shifted.sum(axis=0) / n
        std = np.sqrt(np.maximum(squares.sum(axis=0) / n - np.square(mean), 0.0))
        std[std <= 1e-6] = 1.0
        return cls(tuple(names), mean.astype("f4"), std.astype("f4"), clip, columns, centres.astype("f4"), source)

    def apply(self, tracks: FloatArray, rows: IntArray, *, moved: MovedTracks | None = None) -> FloatArray:
        """Scale (B, ..., all tracks) of the shard rows ``rows`` (B,) to (B, ..., K).

        ``moved``: which tracks come from other rows; these are centred as theirs, all others as the rows' own.
        """
        chosen = tracks[..., self.columns]
        centres = self.centres[rows]
        if moved is not None:
            centres = np.where(np.isin(self.columns, moved.columns), self.centres[moved.partners[rows]], centres)
        centres = centres.reshape(len(rows), *[1] * (chosen.ndim - 2), -1)
        return np.clip((chosen - centres - self.mean) / self.std, -self.clip, self.clip)


def has_targets(shards: Shards, rows: IntArray, names: Sequence[str]) -> BoolArray:
    """Which of the dense tracks ``names`` have a target in any frame of ``rows``, (K,)."""
    columns = np.array([shards.frame_names[DENSE].index(name) for name in names], dtype=np.int64)
    found = np.zeros(len(names), dtype=np.bool_)
    for row in rows:
        if found.all():
            break
        frames = shards.dense[shards.offsets[row] : shards.offsets[row + 1]]
        found |= np.isfinite(np.asarray(frames)[:, columns]).any(axis=0)
    return found


def track_columns(shards: Shards, groups: Sequence[str]) -> IntArray:
    """Return which of the dense tracks belong to ``groups``, (K,); none in shards without them."""
    named = shards.metadata.get("dense", {}).get("groups", {})
    names = [name for group in groups for name in named.get(group, ())]
    return np.array([shards.frame_names[DENSE].index(name) for name in names], dtype=np.int64)


def face_statistics(shards: Shards, rows: IntArray, columns: IntArray) -> npt.NDArray[np.float64]:
    """Return mean, deviation and percentiles of the tracks in ``columns``, (M, 5 * K); NaN in rows without a face."""
    found = np.full((len(rows), (2 + len(PERCENTILES)) * len(columns)), np.nan)
    for number, row in enumerate(rows):
        tracks = np.asarray(shards.dense[shards.offsets[row] : shards.offsets[row + 1]])[:, columns].astype(np.float64)
        seen = tracks[np.isfinite(tracks).all(axis=1)]
        if len(seen) >= LEAST_FRAMES:
            parts = [seen.mean(axis=0), seen.std(axis=0), *np.percentile(seen, PERCENTILES, axis=0)]
            found[number] = np.concatenate(parts)
    return found


def _row_sums(shards: Shards, columns: IntArray, source: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Per shard row and track: number, sum and sum of squares of the targets that are there; (N, K) each."""
    out = np.zeros((3, len(shards.rows), len(columns)))
    tracks = getattr(shards, source)
    for row, (start, stop) in enumerate(zip(shards.offsets[:-1], shards.offsets[1:], strict=True)):
        values = np.asarray(tracks[start:stop])[:, columns].astype(np.float64)
        out[:, row] = np.isfinite(values).sum(axis=0), np.nansum(values, axis=0), np.nansum(values**2, axis=0)
    return out[0], out[1], out[2]


@dataclass(frozen=True)
class MovedTracks:
    """Tracks that are taken from elsewhere, for a negative control.

    ``columns``: (K,) of the dense tracks. ``partners``: (N,) row that a row's are taken from; one of another length is
    stretched. ``shift``: share of the segment by which they are moved, going round at its end.
    """

    columns: IntArray
    partners: IntArray
    shift: float

    def read(self, shards: Shards, rows: IntArray, frames: IntArray) -> FloatArray:
        """Return all dense tracks (B, ..., K) of ``frames`` (B, ...), which lie in the shard ``rows`` (B,)."""
        tracks = np.array(shards.dense[frames])
        first, length = shards.offsets[rows], shards.lengths[rows]
        other = self.partners[rows]
        shape = (len(rows), *[1] * (frames.ndim - 1))
        place = (frames - first.reshape(shape)) / length.reshape(shape) + self.shift
        there = ((place % 1.0) * shards.lengths[other].reshape(shape)).astype(np.int64)
        tracks[..., self.columns] = shards.dense[shards.offsets[other].reshape(shape) + there][..., self.columns]
        return tracks


@dataclass(frozen=True)
class FrameTargets:
    """What the frame heads of a network predict: tracks, hidden spans, visemes; one vector every ``step`` frames.

    Viseme classes have no mean: they go with ``step`` 1 alone.
    """

    step: int
    scale: TrackScale | None = None
    reconstruct: bool = False
    visemes: bool = False
    moved: MovedTracks | None = field(repr=False, default=None)

    def __post_init__(self) -> None:
        if self.visemes and self.step != 1:
            raise ValueError(f"visemes are predicted on every frame, not on every {self.step}th")

    @property
    def n_tracks(self) -> int:
        """Number of dense tracks."""
        return len(self.scale.names) if self.scale is not None else 0

    def targets(
        self, shards: Shards, rows: IntArray, frames: IntArray, x: FloatArray, mask: BoolArray
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the targets of B utterances: `DENSE` and `RECONSTRUCTION` (B, nC, L, K), `VISEME` (B, nC, m).

        ``rows`` (B,) and ``frames`` (B, nC, m) of the shards, normalised features ``x`` (B, nC, m, F), and which frames
        are real, ``mask`` (B, nC, m).
        """
        found: dict[str, npt.NDArray[Any]] = {}
        if self.scale is not None:
            if self.moved is None:
                read = np.asarray(getattr(shards, self.scale.source)[frames])
            else:
                read = self.moved.read(shards, rows, frames)
            tracks = self.scale.apply(read, rows, moved=self.moved)
            found[DENSE] = pool_frames(np.where(mask[..., None], tracks, np.float32(np.nan)), self.step)
        if self.visemes:
            found[VISEME] = np.where(mask, shards.viseme[frames, 0], MISSING).astype(np.int64)
        if self.reconstruct:
            found[RECONSTRUCTION] = pool_frames(np.where(mask[..., None], x, np.float32(np.nan)), self.step)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; what belongs to one shard folder is left out."""
        scale = self.scale
        tracks: dict[str, Any] | None = None
        if scale is not None:
            tracks = {"names": list(scale.names), "mean": scale.mean.tolist(), "std": scale.std.tolist()}
            tracks["clip"] = scale.clip
        return {"step": self.step, "reconstruct": self.reconstruct, "tracks": tracks}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> FrameTargets:
        """Inverse of `to_json`: enough to build the network and read its tracks, not to make targets anew."""
        scale = None
        if raw["tracks"] is not None:
            mean, std = (np.array(raw["tracks"][name], np.float32) for name in ("mean", "std"))
            scale = TrackScale(tuple(raw["tracks"]["names"]), mean, std, float(raw["tracks"]["clip"]))
        return cls(int(raw["step"]), scale, bool(raw["reconstruct"]))


def pool_frames(values: FloatArray, step: int) -> FloatArray:
    """(..., m, K) on frames to (..., ceil(m / step), K): the mean of the targets around every ``step``-th frame.

    Window j spans frames j * step - step // 2 and the ``step - 1`` that follow, which is where the stride of the
    convolutions puts frame vector j; NaN where no frame of it has a target.

    >>> pool_frames(np.array([[0.0], [np.nan], [4.0], [6.0], [8.0]], np.float32), 2)[:, 0].tolist()
    [0.0, 4.0, 7.0]
    """
    if step == 1:
        return values.astype(np.float32)
    m = values.shape[-2]
    count = -(-m // step)
    padded = np.full((*values.shape[:-2], count * step, values.shape[-1]), np.nan, dtype=np.float32)
    front = step // 2
    fits = min(m, count * step - front)
    padded[..., front : front + fits, :] = values[..., :fits, :]
    windows = padded.reshape(*values.shape[:-2], count, step, values.shape[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, which is what is wanted
        pooled: FloatArray = np.nanmean(windows, axis=-2, dtype=np.float32)
    return pooled
