"""The network: one speech encoder, a head per target."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainer.aggregators import AGGREGATORS
from trainer.data import Batch
from trainer.encoders import CHUNK_ENCODERS
from trainer.params import EncoderParams


class SpeechEncoder(nn.Module):
    """Chunk encoder and aggregator: the part that pretraining hands on."""

    def __init__(self, n_features: int, params: EncoderParams) -> None:
        super().__init__()
        self.chunk_encoder = CHUNK_ENCODERS[params.chunk_encoder](n_features, params)
        self.aggregator = AGGREGATORS[params.aggregator](params.hidden)

    def forward(self, x: Tensor, frame_mask: Tensor, chunk_mask: Tensor) -> Tensor:
        """(B, nC, m, F), (B, nC, m), (B, nC) to (B, H).

        Only real chunks pass through the chunk encoder: padded ones cost nothing and touch no batch statistic.
        """
        real = self.chunk_encoder(x[chunk_mask], frame_mask[chunk_mask])
        h = real.new_zeros((*chunk_mask.shape, real.shape[-1]))
        h = h.masked_scatter(chunk_mask.unsqueeze(-1), real)
        out: Tensor = self.aggregator(h, chunk_mask)
        return out


class Head(nn.Sequential):
    """Utterance vector to scores, through one GELU layer, or linearly if ``hidden`` is 0."""

    def __init__(self, size: int, n_outputs: int, *, hidden: int, dropout: float) -> None:
        if hidden:
            layers = [nn.Linear(size, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, n_outputs)]
        else:
            layers = [nn.Dropout(dropout), nn.Linear(size, n_outputs)]
        super().__init__(*layers)


class Network(nn.Module):
    """Shared encoder with one head per target, in the order of ``outputs`` (target name to number of scores)."""

    def __init__(self, n_features: int, params: EncoderParams, *, outputs: Mapping[str, int], head_hidden: int) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(n_features, params)
        self.heads = nn.ModuleDict(
            {
                name: Head(params.hidden, count, hidden=head_hidden, dropout=params.dropout)
                for name, count in outputs.items()
            }
        )

    def encode(self, batch: Batch) -> Tensor:
        """Utterance vectors, (B, H)."""
        out: Tensor = self.encoder(batch.x, batch.frame_mask, batch.chunk_mask)
        return out

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Scores (logits) per target, (B, outputs)."""
        z = self.encode(batch)
        return {name: head(z) for name, head in self.heads.items()}


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
