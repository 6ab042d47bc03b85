"""Any utterance becomes the same number of equally long chunks: dynamic chunking, and the classical single window.

Dynamic, Lin & Busso, Interspeech 2020 and IEEE T-AFFC 2021: nC chunks of w_c seconds, C = ceil(T_max / w_c); short
utterances overlap more, long ones less (beyond T_max they leave gaps). What they compared it with: one window, as long
as the longest utterance (zero padding) or shorter (cropping).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import BoolArray, IntArray
from trainer.data.shards import Shards
from trainer.errors import Notice
from trainer.params import EncoderParams


@dataclass(frozen=True)
class Chunking:
    """``count`` = nC chunks of ``frames`` = m frames.

    >>> Chunking.fit(chunk_seconds=1.0, max_seconds=11.0, chunks_per_second=1, frame_period=0.01)
    Chunking(frames=100, count=11)
    >>> Chunking(frames=4, count=3).starts(np.array([8, 9, 2])).tolist()
    [[0, 2, 4], [0, 2, 5], [0, 0, 0]]
    """

    frames: int
    count: int

    def __post_init__(self) -> None:
        if self.frames < 1 or self.count < 1:
            raise ValueError(f"a chunking needs at least one chunk of one frame, not {self}")

    @classmethod
    def fit(cls, *, chunk_seconds: float, max_seconds: float, chunks_per_second: int, frame_period: float) -> Chunking:
        """Chunk length and number for a corpus: m = w_c in frames, nC = n * ceil(T_max / w_c), in seconds [paper].

        T_max is a whole number of frames where it is that of a corpus: half a frame more adds no chunk [ours].

        >>> Chunking.fit(chunk_seconds=1.0, max_seconds=11.0, chunks_per_second=1, frame_period=0.016)
        Chunking(frames=62, count=11)
        """
        frames = max(1, round(chunk_seconds / frame_period))
        count = math.ceil((max_seconds - frame_period / 2) / chunk_seconds - 1e-9)
        return cls(frames=frames, count=chunks_per_second * max(1, count))

    def starts(self, lengths: npt.ArrayLike) -> IntArray:
        """First frame of every chunk: (B,) utterance lengths in frames to (B, nC).

        Source: chunk i begins at i * delta, delta = floor((T - m) / (nC - 1)) [code]. That loses up to nC - 2 frames
        at the end; moving the last chunk alone would lose them before it instead. Ours spreads the remainder: chunk
        i begins at floor(i * (T - m) / (nC - 1)), which is i * delta wherever the division is exact, never more than
        i frames later, ends exactly at T, and leaves no gap for any T <= nC * m. Input shorter than a chunk begins at
        0 and is padded. Raises ValueError for a length below one frame.
        """
        lengths = np.asarray(lengths, dtype=np.int64)
        if lengths.size and lengths.min() < 1:
            raise ValueError("an utterance needs at least one frame")
        room = np.maximum(lengths - self.frames, 0)[:, None]
        if self.count == 1:
            return room
        return room * np.arange(self.count, dtype=np.int64) // (self.count - 1)

    def masks(self, lengths: npt.ArrayLike, starts: IntArray) -> tuple[BoolArray, BoolArray]:
        """Which frames and chunks are real: (B, nC, m) and (B, nC), True = real.

        A frame is real if it lies inside the utterance. A chunk that begins where the one before it begins (input not
        longer than a chunk by nC - 1 frames) is a copy: it is not real, so that it weighs nothing in batch
        normalisation or aggregation and costs no computing. Its frames are not real either.
        """
        lengths = np.asarray(lengths, dtype=np.int64)
        chunks = np.ones(starts.shape, dtype=bool)
        chunks[:, 1:] = starts[:, 1:] > starts[:, :-1]
        inside = starts[..., None] + np.arange(self.frames) < lengths[:, None, None]
        return inside & chunks[..., None], chunks


@dataclass(frozen=True)
class Window(Chunking):
    """One chunk for the whole utterance: what is longer is cut to its middle, what is shorter is padded and masked.

    Padding and cropping are both this: pad with m = T_max, crop with less. The window lies in the middle in training as
    in testing, so that nothing is drawn [ours].

    >>> Window(frames=4, count=1).starts(np.array([8, 9, 2])).tolist()
    [[2], [2], [0]]
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count != 1:
            raise ValueError(f"a window is one chunk, not {self}")

    @classmethod
    def of(cls, *, seconds: float, frame_period: float) -> Window:
        """Return a window of so many seconds, in whole frames and at least one."""
        return cls(frames=max(1, round(seconds / frame_period)), count=1)

    def starts(self, lengths: npt.ArrayLike) -> IntArray:
        """First frame of the window, (B,) utterance lengths in frames to (B, 1): floor((T - m) / 2), or 0 if T < m."""
        return super().starts(lengths) // 2


# values of encoder.length
LENGTHS: dict[str, type[Chunking]] = {"dynamic": Chunking, "pad": Window, "crop": Window}


# ``max_seconds: auto`` ends here, if the longest clip does not: far beyond the corpora of the field, whose longest
# clip is two to four times their 90th percentile, and never below the paper's longest segment.
OUTLIER, PAPER_SECONDS = 5.0, 11.0  # times the 90th percentile [ours]; s [paper]


def longest_seconds(shards: Shards, rows: npt.ArrayLike) -> float:
    """T_max of the given rows, in seconds: of the longest, but for a few clips that are far longer than the others.

    One clip of minutes among clips of seconds (mostly cut wrongly) would give all the others its many chunks.
    """
    lengths = shards.lengths[np.asarray(rows, dtype=np.int64)]
    usual = OUTLIER * float(np.quantile(lengths, 0.9, method="lower"))
    return min(float(lengths.max()), max(usual, PAPER_SECONDS / shards.frame_period)) * shards.frame_period


def note_long_clips(shards: Shards, rows: npt.ArrayLike, encoder: EncoderParams) -> None:
    """Tell people which clip of ``rows`` is longer than ``max_seconds: auto`` takes whole."""
    rows = np.asarray(rows, dtype=np.int64)
    if encoder.length == "crop" or encoder.max_seconds != "auto":
        return
    seconds, limit = shards.lengths[rows] * shards.frame_period, longest_seconds(shards, rows)
    if seconds.max() > limit:
        longest = int(seconds.argmax())
        warnings.warn(
            f"{shards.folder}: {int((seconds > limit).sum())} of {len(rows)} segments are far longer than the others, "
            f"e.g. {shards.rows['segment_id'].iloc[rows[longest]]} with {seconds[longest]:.1f} s. encoder.max_seconds "
            f"auto stops at {limit:.1f} s, so that their chunks lie apart. Look at how they were cut, or set "
            "encoder.max_seconds",
            Notice,
            stacklevel=2,
        )


def chunking_for(shards: Shards, rows: IntArray, encoder: EncoderParams) -> Chunking:
    """Fit the chunking of a corpus; ``max_seconds: auto`` is `longest_seconds` of ``rows`` (training rows)."""
    if encoder.length == "crop":
        return Window.of(seconds=encoder.crop_seconds, frame_period=shards.frame_period)
    longest = longest_seconds(shards, rows) if encoder.max_seconds == "auto" else float(encoder.max_seconds)
    if encoder.length == "pad":
        return Window.of(seconds=longest, frame_period=shards.frame_period)
    return Chunking.fit(
        chunk_seconds=encoder.chunk_seconds,
        max_seconds=longest,
        chunks_per_second=encoder.chunks_per_second,
        frame_period=shards.frame_period,
    )
