"""DeepEmoCluster's chunk encoder: a 2-D CNN over the mel spectrogram of a chunk (Lin, Sridhar & Busso, ICASSP 2021).

The authors' size [code], on 128 mel bands and chunks of 62 frames of 16 ms: ``widths`` [32, 32, 64, 64, 128, 128, 128],
``hidden`` 256, ``dropout`` .5. Smaller ``widths`` give the same network, thinner or less deep.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.encoders import CHUNK_ENCODERS, MaskedBatchNorm, statistics, zero_padding
from trainer.params import EncoderParams

UNSTRIDED = 2  # layers that keep the resolution [code]
KERNEL = 3  # bands and frames [code]


@CHUNK_ENCODERS.register("mel_cnn")
class MelChunkEncoder(nn.Module):
    """3 x 3 convolutions over time and frequency, batch norm, ReLU; then one linear layer [code].

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
            maps = functional.relu(_normalise(norm, maps, mask))  # type: ignore[arg-type]
        return maps.permute(0, 2, 1, 3).flatten(2), mask


def _normalise(norm: MaskedBatchNorm, maps: Tensor, mask: Tensor) -> Tensor:
    """Batch norm of (N, C, time, bands) over real frames of mask (N, time); padded ones come out as 0."""
    bands = maps.shape[-1]
    cells = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (N, time * bands, C)
    normed = norm(cells, mask.repeat_interleave(bands, dim=1))
    return normed.unflatten(1, (-1, bands)).permute(0, 3, 1, 2)
