"""What says how a network learns: correlations of tracks, rank of its outputs, dead units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from trainer.data.tracks import DENSE, RECONSTRUCTION


def correlations(guess: Tensor, target: Tensor) -> list[float | None]:
    """Pearson r per track over all frames that have a target; None where there are none or nothing varies."""
    x, y = guess.flatten(0, -2).double().numpy(), target.flatten(0, -2).double().numpy()
    out: list[float | None] = []
    for track in range(x.shape[1]):
        asked = np.isfinite(x[:, track]) & np.isfinite(y[:, track])
        a, b = x[asked, track], y[asked, track]
        varies = len(a) > 2 and a.std() > 1e-9 and b.std() > 1e-9
        out.append(float(np.corrcoef(a, b)[0, 1]) if varies else None)
    return out


def mean_correlation(scores: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> float | None:
    """Mean r over the dense tracks (else over the hidden features) that can be measured; None without any.

    A track that is followed by a constant counts 0: the head has learnt nothing of it.
    """
    for name in (DENSE, RECONSTRUCTION):
        if name in scores and name in targets:
            return float(np.mean([value or 0.0 for value in correlations(scores[name], targets[name])]))
    return None


def effective_rank(z: Tensor) -> float:
    """exp(entropy of the normalised singular values) of centred (N, H) vectors (Roy & Vetterli 2007).

    How many dimensions the encoder uses; a network that collapses onto its task falls to the number of classes.

    >>> round(effective_rank(torch.eye(4).repeat(5, 1)), 3)
    3.0
    """
    values = torch.linalg.svdvals((z - z.mean(dim=0)).double())
    if values.sum() <= 1e-12:
        return 0.0
    share = values / values.sum()
    share = share[share > 1e-12]
    return float(torch.exp(-(share * share.log()).sum()))


def dead_units(z: Tensor) -> float:
    """Share of the H output units that stay (nearly) constant: deviation below 1 % of the median unit's [ours].

    >>> dead_units(torch.tensor([[0.0, 1.0, 5.0], [1.0, 0.0, 5.0], [0.0, 0.5, 5.0]])) == 1 / 3
    True
    """
    deviation = z.double().std(dim=0)
    return float((deviation <= 0.01 * deviation.median()).double().mean())
