"""Which epoch's weights a training leaves."""

from __future__ import annotations

import math

import torch
from torch import nn

from trainer.training.loop import _Best


def _after(monitor: str, scores: list[float]) -> float:
    """Return what is left of a weight that is the number of the epoch, 0 before the first."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    best = _Best(network, monitor)
    for epoch, score in enumerate(scores, start=1):
        with torch.no_grad():
            network.weight.fill_(epoch)
        best.compare(epoch, 1.0, score)
    best.restore()
    return network.weight.item()


def test_the_best_or_the_last_epoch_stays() -> None:
    assert _after("score", [0.1, 0.5, 0.2]) == 2
    assert _after("last", [0.1, 0.5, 0.2]) == 3


def test_without_a_score_that_is_a_number_the_first_weights_stay() -> None:
    assert _after("score", [math.nan, math.nan]) == 0
