"""Augmentation of a training batch: the label stays true, or is mixed as the utterances are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trainer.data.dataset import Batch
from trainer.params import AugmentParams


@dataclass(frozen=True)
class Mix:
    """The other utterances of a mixed batch."""

    share: float  # of the utterances themselves, .5 to 1
    targets: Mapping[str, Tensor]  # of those mixed in


def augment(batch: Batch, options: AugmentParams, generator: torch.Generator) -> tuple[Batch, Mix | None]:
    """Return the batch with noise, hidden spans and other utterances mixed in, all drawn from ``generator``.

    Noise: Gaussian, in standard deviations of the normalised features. Hidden spans: one of neighbouring features an
    utterance and one of frames a chunk, of up to the given share, set to the mean (SpecAugment, Park et al. 2019).
    Mixing: one share a batch from Beta(a, a), at least a half (mixup, Zhang et al. 2018); where the other utterance has
    no frame the own one stays. Padding stays zero. The batch that comes in is left as it is.
    """
    x = batch.x
    if options.noise:
        x = x + options.noise * torch.randn(x.shape, generator=generator) * batch.frame_mask.unsqueeze(-1)
    if options.feature_mask:
        hidden = _spans(len(x), x.shape[3], options.feature_mask, generator)
        x = x.masked_fill(hidden[:, None, None, :], 0.0)
    if options.time_mask:
        hidden = _spans(len(x) * x.shape[1], x.shape[2], options.time_mask, generator).view(x.shape[:3])
        x = x.masked_fill(hidden.unsqueeze(-1), 0.0)
    mix = None
    if options.mixup and len(x) > 1:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        share = float(rng.beta(options.mixup, options.mixup))
        share = max(share, 1.0 - share)
        order = torch.randperm(len(x), generator=generator)
        mixed = torch.lerp(x[order], x, share)
        both = batch.frame_mask & batch.frame_mask[order]
        x = mixed if bool(both.all()) else torch.where(both.unsqueeze(-1), mixed, x)
        mix = Mix(share, {name: target[order] for name, target in batch.targets.items()})
    return replace(batch, x=x), mix


def _spans(count: int, size: int, share: float, generator: torch.Generator) -> Tensor:
    """Return (count, size) bool with one span of True a row, of 0 to ``share * size`` places."""
    width = torch.randint(int(share * size) + 1, (count, 1), generator=generator)
    first = (torch.rand((count, 1), generator=generator) * (size - width + 1)).long()
    place = torch.arange(size)
    return (place >= first) & (place < first + width)
