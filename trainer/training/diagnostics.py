"""How a network learns: correlations of tracks, matched faces, rank of its outputs, dead units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from trainer.data.rows import MISSING
from trainer.data.tracks import DENSE, RECONSTRUCTION


def correlations(predicted: Tensor, target: Tensor) -> list[float | None]:
    """Pearson r per track of (..., K) over all frames that have a target; None if there are none or nothing varies."""
    found: list[float | None] = []
    for pair in zip(*(values.flatten(0, -2).double().numpy().T for values in (predicted, target)), strict=True):
        x, y = np.stack(pair)[:, np.isfinite(pair).all(axis=0)]
        varies = len(x) > 2 and x.std() > 1e-9 and y.std() > 1e-9
        found.append(float(np.corrcoef(x, y)[0, 1]) if varies else None)
    return found


def mean_correlation(scores: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> float | None:
    """Mean r over the dense tracks (else over the hidden features); None without any.

    A track whose prediction is constant counts 0: the head has learnt nothing of it.
    """
    for name in (DENSE, RECONSTRUCTION):
        if name in scores and name in targets:
            return float(np.mean([value or 0.0 for value in correlations(scores[name], targets[name])]))
    return None


def matched_share(scores: Tensor, whose: Tensor) -> tuple[float, float] | None:
    """How often a voice is nearest to its own face of all of its speaker's, and how often by chance.

    Args:
        scores: (N, 2, E) of voice and face.
        whose: (N, 2) numbers of speaker, `MISSING` without a face, and segment.

    Returns:
        Both shares, over the segments of speakers with two or more; None without any.

    >>> turned = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> matched_share(turned, torch.tensor([[4, 0], [4, 1]]))
    (1.0, 0.5)
    """
    speakers = whose[:, 0]
    right, chance, count = 0, 0.0, 0
    for speaker in speakers.unique().tolist():
        own = scores[speakers == speaker]
        if speaker == MISSING or len(own) < 2:
            continue
        nearest = (own[:, 0] @ own[:, 1].T).argmax(dim=1)
        right += int((nearest == torch.arange(len(own))).sum())
        chance += 1.0
        count += len(own)
    return (right / count, chance / count) if count else None


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
