"""Chunk encoders: the frames of one chunk to one vector.

To add one: write a subclass of `ChunkEncoder`, name it in CHUNK_ENCODERS and in the type of ``encoder.chunk_encoder``
(trainer/params/training.py).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.params import EncoderParams

UNSTRIDED = 2  # mel_cnn: layers that keep the resolution [code]
KERNEL = 3  # mel_cnn: bands and frames [code]


class ChunkEncoder(nn.Module):
    """Base of the chunk encoders."""

    step: int  # input frames between two of its frame vectors; vector j stands for input frame j * step
    width: int  # size of a frame vector
    frame_layers: ClassVar[tuple[str, ...]]  # submodules that make the frame vectors

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(N, m, F) frames and (N, m) mask to chunk vectors (N, H) and frame vectors (N, ceil(m / step), width)."""
        raise NotImplementedError

    def describe(self, x: Tensor, mask: Tensor) -> Tensor:
        """(N, m, F) and (N, m) to statistics of the frame layers over N stretches of any length, (N, D)."""
        raise NotImplementedError


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over real frames only: padding would pull mean and variance towards zero."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, H) without mask, or (N, L, H) with mask (N, L); padded frames come out as 0 and count nowhere."""
        if mask is None:
            return self._norm(x)
        if bool(mask.all()):  # the usual case; saves two copies
            return self._norm(x.flatten(0, 1)).view_as(x)
        return torch.zeros_like(x).masked_scatter(mask.unsqueeze(-1), self._norm(x[mask]))

    def channels_first(self, x: Tensor) -> Tensor:
        """(N, H, L) without padding."""
        return self._norm(x)

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


def moments(x: Tensor, *, dim: int) -> Tensor:
    """`statistics` along ``dim`` where nothing is padded: (N, L, H) or (N, H, L) to (N, 2H)."""
    mean = x.mean(dim)
    # Of normalised values the mean square is exact enough, and a tenth of the time of a second pass (or of var_mean).
    variance = ((x * x).mean(dim) - mean * mean).clamp_min(0.0)
    return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)


class ConvChunkEncoder(ChunkEncoder):
    """Strided 1-D convolutions over time with masked batch norm and GELU; statistics of every layer; linear.

    After the small 1-D CNN [code: 128, 128, 64, 64, 32 channels]; strides, GELU and pooling mean and deviation of
    the input and of every layer are [ours]: with few speakers the plain statistics of the descriptors are hard to
    beat, and this way the network starts from them. The output is linear: with a ReLU units die in pretraining.
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
        full = bool(mask.all())  # the usual case: only utterances shorter than a chunk are padded
        x = x if full else zero_padding(x, mask)  # a convolution looks past the last real frame
        pooled = [moments(x, dim=1) if full else statistics(x, mask)]
        x = x.transpose(1, 2)  # channels first through all layers, as convolutions want them
        for conv, norm in zip(self.convs, self.norms, strict=True):
            mask = mask[:, :: self.stride]
            x = conv(x)
            if full:
                x = functional.gelu(cast(MaskedBatchNorm, norm).channels_first(x))
                pooled.append(moments(x, dim=2))
            else:
                x = functional.gelu(norm(x.transpose(1, 2), mask)).transpose(1, 2)  # padding stays 0: gelu(0) = 0
                pooled.append(statistics(x.transpose(1, 2), mask))
        return torch.cat(pooled, dim=1), x.transpose(1, 2)


class LstmChunkEncoder(ChunkEncoder):
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


class MelChunkEncoder(ChunkEncoder):
    """3 x 3 convolutions over time and frequency, batch norm, ReLU; then one linear layer [code].

    DeepEmoCluster's chunk encoder (Lin, Sridhar & Busso, ICASSP 2021). The authors' size, on 128 mel bands and chunks
    of 62 frames of 16 ms: ``widths`` [32, 32, 64, 64, 128, 128, 128], ``hidden`` 256, ``dropout`` .5.

    The first two layers keep the resolution, every further one divides it by ``encoder.stride`` [code: 2]. The features
    must be neighbours in frequency (``shards.features: logmel``). Before the linear layer the frames are averaged over
    real time, band by band, so that it takes chunks of any length and no padding [ours; the code's layer sees one fixed
    length]. Its output is linear, as that of the other chunk encoders.
    """

    frame_layers = ("convs", "norms")

    def __init__(self, n_features: int, params: EncoderParams) -> None:
        super().__init__()
        self.strides = [1 if layer < UNSTRIDED else params.stride for layer in range(len(params.widths))]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, KERNEL, stride, padding=KERNEL // 2, bias=False)
            for (a, b), stride in zip(pairwise((1, *params.widths)), self.strides, strict=True)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for width in params.widths)
        bands, self.step = n_features, 1
        for stride in self.strides:
            bands, self.step = -(-bands // stride), self.step * stride
        self.width = bands * params.widths[-1]
        self.dropout = nn.Dropout(params.dropout)
        self.out = nn.Linear(self.width, params.hidden)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(N, m, F) and (N, m) to (N, H) and the last layer's (N, L, C * bands), 0 where padded."""
        frames, mask = self._layers(x, mask)
        mean = frames.sum(dim=1) / mask.sum(dim=1, keepdim=True).to(frames.dtype)
        return self.out(self.dropout(mean)), frames

    def describe(self, x: Tensor, mask: Tensor) -> Tensor:
        """(N, m, F) and (N, m) to the statistics of the input and of the last layer, (N, 2 (F + C * bands))."""
        frames, coarse = self._layers(x, mask)
        return torch.cat([statistics(zero_padding(x, mask), mask), statistics(frames, coarse)], dim=1)

    def _layers(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, L, C * bands) and the mask of these L frames."""
        maps = zero_padding(x, mask).unsqueeze(1)  # (N, 1, time, bands)
        for conv, norm, stride in zip(self.convs, self.norms, self.strides, strict=True):
            # channels last, as the batch norm below wants them
            maps = conv(maps.contiguous(memory_format=torch.channels_last))
            mask = mask[:, ::stride]
            maps = functional.relu(_normalise(cast(MaskedBatchNorm, norm), maps, mask))
        return maps.permute(0, 2, 1, 3).flatten(2), mask


def _normalise(norm: MaskedBatchNorm, maps: Tensor, mask: Tensor) -> Tensor:
    """Batch norm of (N, C, time, bands) over real frames of mask (N, time); padded ones come out as 0."""
    bands = maps.shape[-1]
    cells = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (N, time * bands, C)
    normed = norm(cells, mask.repeat_interleave(bands, dim=1))
    return normed.unflatten(1, (-1, bands)).permute(0, 3, 1, 2)


# name in ``encoder.chunk_encoder`` -> class
CHUNK_ENCODERS: dict[str, Callable[[int, EncoderParams], ChunkEncoder]] = {
    "cnn": ConvChunkEncoder,
    "lstm": LstmChunkEncoder,
    "mel_cnn": MelChunkEncoder,
}
