"""Several layers of a speech model as features: the weighted sum that is learnt of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.errors import InputError


class LayerSum(nn.Module):
    """Weighted sum of the layers of a speech model that lie side by side in the features (Yang et al. 2021, SUPERB).

    The weights are a softmax, equal at first. Features are normalised before, so that no layer is louder than others.
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(n_layers))

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_layers * D) to (..., D)."""
        return self.scores.softmax(0) @ x.unflatten(-1, (len(self.scores), -1))


def check_layers(feature_names: Sequence[str], n_layers: int) -> None:
    """Make sure that features are so many layers side by side: names ``<layer>_<value>``, the same values in each.

    Raises:
        InputError: they are not.
    """
    if n_layers == 1:
        return
    parts = [name.rpartition("_") for name in feature_names]
    size = len(parts) // n_layers
    blocks = [parts[first : first + size] for first in range(0, len(parts), max(size, 1))]
    values = {tuple(value for _, _, value in block) for block in blocks}
    if len(blocks) != n_layers or len(values) != 1 or len({block[0][0] for block in blocks}) != n_layers:
        raise InputError(
            f"encoder.layers is {n_layers}, but the {len(parts)} features of the shards are not {n_layers} layers side "
            "by side: make them with acoustics.speech_model.layer: all, shards.features: speech_model, and count the "
            "state before the first layer too"
        )
