"""Chunk encoders: the frames of one chunk to one vector.

To add one: write a module with ``forward(x, mask)``, ``step``, ``width`` and ``frame_layers``, register it, name it in
``encoder.chunk_encoder`` (one in a file of its own, such as ``trainer.mel_cnn``, is imported by ``trainer.models.network``).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.params import EncoderParams
from trainer.registry import Registry


class ChunkEncoder(Protocol):
    """What a chunk encoder offers beside being a module."""

    step: int  # input frames between two of its frame vectors; vector j stands for input frame j * step
    width: int  # size of a frame vector
    frame_layers: ClassVar[tuple[str, ...]]  # submodules that make the frame vectors

    def __call__(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(N, m, F) frames and (N, m) mask to chunk vectors (N, H) and frame vectors (N, ceil(m / step), width)."""
        ...

    def describe(self, x: Tensor, mask: Tensor) -> Tensor:
        """(N, m, F) and (N, m) to what the frame layers say of each of N stretches of any length, (N, D)."""
        ...


CHUNK_ENCODERS: Registry[Callable[[int, EncoderParams], nn.Module]] = Registry("chunk encoder")


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over real frames only: padding would pull mean and variance towards zero."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, H) without mask, or (N, L, H) with mask (N, L); padded frames come out as 0 and count nowhere."""
        if mask is None:
            return self._norm(x)
        if bool(mask.all()):  # the usual case; saves two copies
            return self._norm(x.flatten(0, 1)).view_as(x)
        return torch.zeros_like(x).masked_scatter(mask.unsqueeze(-1), self._norm(x[mask]))

    def _norm(self, x: Tensor) -> Tensor:
        learn = self.training and len(x) > 1  # one sample has no variance to learn from: use the running statistics
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, learn, self.momentum or 0.1, self.eps
        )


def zero_padding(x: Tensor, mask: Tensor) -> Tensor:
    """Return (N, L, H) with padded frames set to 0; as it is if there are none."""
    return x if bool(mask.all()) else x * mask.unsqueeze(-1)


def statistics(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation over real frames: (N, L, H), padded frames 0, to (N, 2H)."""
    count = mask.sum(dim=1, keepdim=True).to(x.dtype)
    mean = x.sum(dim=1) / count
    centred = zero_padding(x - mean.unsqueeze(1), mask)
    return torch.cat([mean, (centred.square().sum(dim=1) / count + 1e-5).sqrt()], dim=1)


@CHUNK_ENCODERS.register("cnn")
class ConvChunkEncoder(nn.Module):
    """Strided 1-D convolutions over time with masked batch norm and GELU; statistics of every layer; linear.

    After the small 1-D CNN [code: 128, 128, 64, 64, 32 channels]; strides, GELU and pooling mean and deviation of
    the input and of every layer are [ours]: with few speakers the plain statistics of the descriptors are hard to
    beat, and this way the network starts from them. The output is linear: a ReLU there kills units in pretraining.
    """

    frame_layers = ("convs", "norms")

    def __init__(self, n_features: int, params: EncoderParams) -> None:
        super().__init__()
        sizes = (n_features, *params.widths)
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, params.kernel, params.stride, padding=params.kernel // 2, bias=False)
            for a, b in pairwise(sizes)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for width in params.widths)
        self.dropout = nn.Dropout(params.dropout)
        self.out = nn.Linear(2 * sum(sizes), params.hidden)
        self.stride = params.stride
        self.step, self.width = params.stride ** len(params.widths), params.widths[-1]

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(N, m, F) and (N, m) to (N, H) and the last layer's (N, L, C); every chunk needs a real first frame."""
        pooled, frames = self._layers(x, mask)
        return self.out(self.dropout(pooled)), frames

    def describe(self, x: Tensor, mask: Tensor) -> Tensor:
        """(N, m, F) and (N, m) to the statistics of input and layers, (N, 2 (F + C1 + C2 + ...))."""
        return self._layers(x, mask)[0]

    def _layers(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = zero_padding(x, mask)  # a convolution looks past the last real frame
        pooled = [statistics(x, mask)]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(x.transpose(1, 2)).transpose(1, 2)
            mask = mask[:, :: self.stride]
            x = functional.gelu(norm(x, mask))  # padding stays 0: gelu(0) = 0
            pooled.append(statistics(x, mask))
        return torch.cat(pooled, dim=1), x


@CHUNK_ENCODERS.register("lstm")
class LstmChunkEncoder(nn.Module):
    """LSTM over the chunk's frames, last valid state, batch norm [code: 2 x LSTM(130), dropout .5]."""

    frame_layers = ("lstm",)

    def __init__(self, n_features: int, params: EncoderParams) -> None:
        super().__init__()
        between = params.dropout if params.lstm_layers > 1 else 0.0
        self.lstm = nn.LSTM(n_features, params.hidden, num_layers=params.lstm_layers, dropout=between, batch_first=True)
        self.norm = MaskedBatchNorm(params.hidden)
        self.dropout = nn.Dropout(params.dropout)
        self.step, self.width = 1, params.hidden

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(N, m, F) and (N, m) to (N, H) and states (N, m, H); padding sits at a chunk's end and is never reached."""
        states, _ = self.lstm(x)
        last = mask.sum(dim=1) - 1
        return self.dropout(self.norm(states[torch.arange(len(x), device=x.device), last])), states

    def describe(self, x: Tensor, mask: Tensor) -> Tensor:
        """(N, m, F) and (N, m) to the statistics of input and states, (N, 2 (F + H))."""
        states = zero_padding(self.lstm(x)[0], mask)
        return torch.cat([statistics(zero_padding(x, mask), mask), statistics(states, mask)], dim=1)
