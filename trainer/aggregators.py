"""Aggregators: a variable number of real chunk vectors to one utterance vector.

To add one: write a module with ``forward(h, mask)``, register it, name it in ``encoder.aggregator``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainer.registry import Registry

AGGREGATORS: Registry[Callable[[int], nn.Module]] = Registry("aggregator")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over real chunks: (B, nC, H) and (B, nC) bool to (B, H)."""
    weights = mask.to(values.dtype).unsqueeze(-1)
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


@AGGREGATORS.register("mean")
class MeanAggregator(nn.Module):
    """z = mean_i h_i over real chunks [code: Lin & Busso]."""

    def __init__(self, hidden: int) -> None:
        super().__init__()

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """(B, nC, H) chunk vectors and (B, nC) mask to (B, H)."""
        return masked_mean(h, mask)


@AGGREGATORS.register("gated")
class GatedAggregator(nn.Module):
    """g_i = sigmoid(w . h_i + b), z = mean_i (g_i h_i) over real chunks [code: Lin & Busso]."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden, 1)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """(B, nC, H) chunk vectors and (B, nC) mask to (B, H)."""
        return masked_mean(torch.sigmoid(self.gate(h)) * h, mask)
