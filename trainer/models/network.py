"""The network: one speech encoder, a head per target, and heads on every frame that pretraining throws away."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.data.dataset import Batch
from trainer.data.tracks import DENSE, FACE, MATCHING, RECONSTRUCTION, VECTORS
from trainer.models.aggregators import AGGREGATORS
from trainer.models.encoders import CHUNK_ENCODERS
from trainer.models.layers import LayerSum
from trainer.params import EncoderParams

SPAN = 12  # frames of a hidden span; about .2 s, a syllable [ours]
MATCHED = 32  # units in which voice and face are compared [ours]
TEMPERATURE = 0.1  # of their cosine [ours; .07 to .2 are common]
HIDDEN = 0.3  # share of the frames that is hidden [ours; wav2vec 2.0 hides about half in spans of .2 s]


class SpeechEncoder(nn.Module):
    """Chunk encoder and aggregator: the part that pretraining hands on."""

    def __init__(self, n_features: int, params: EncoderParams) -> None:
        super().__init__()
        self.layer_sum = LayerSum(params.layers) if params.layers > 1 else nn.Identity()
        self.chunk_encoder = CHUNK_ENCODERS[params.chunk_encoder](n_features // params.layers, params)
        self.aggregator = AGGREGATORS[params.aggregator](params.hidden)

    def forward(self, x: Tensor, frame_mask: Tensor, chunk_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, nC, m, F), (B, nC, m), (B, nC) to (B, H) and the frame vectors (B, nC, L, C), 0 in padded chunks.

        Only real chunks pass through the chunk encoder: padded ones cost nothing and touch no batch statistic.
        """
        vectors, frames = self.chunk_encoder(self.layer_sum(x[chunk_mask]), frame_mask[chunk_mask])
        return self.aggregator(_scatter(vectors, chunk_mask), chunk_mask), _scatter(frames, chunk_mask)

    def carried(self, part: str) -> list[nn.Module]:
        """Modules that transfer hands on: ``all``; ``chunk``, the chunk encoder; ``conv``, its frame layers.

        The weights of the layers, where there are some, are always among them.
        """
        if part == "all":
            return [self]
        if part == "chunk":
            return [self.layer_sum, self.chunk_encoder]
        frame_layers = [getattr(self.chunk_encoder, name) for name in self.chunk_encoder.frame_layers]
        return [self.layer_sum, *frame_layers]

    def carry_over(self, source: SpeechEncoder, *, part: str) -> None:
        """Take the weights and batch statistics of ``part`` over from another encoder of the same shape."""
        for module, original in zip(self.carried(part), source.carried(part), strict=True):
            module.load_state_dict(original.state_dict())


def _scatter(real: Tensor, chunk_mask: Tensor) -> Tensor:
    """(N, ...) of the N real chunks to (B, nC, ...), 0 elsewhere."""
    out = real.new_zeros((*chunk_mask.shape, *real.shape[1:]))
    return out.masked_scatter(chunk_mask.view(*chunk_mask.shape, *[1] * (real.dim() - 1)), real)


class Head(nn.Sequential):
    """Utterance vector to scores, through one GELU layer, or linearly if ``hidden`` is 0."""

    def __init__(self, size: int, n_outputs: int, *, hidden: int, dropout: float) -> None:
        if hidden:
            layers = [nn.Linear(size, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, n_outputs)]
        else:
            layers = [nn.Dropout(dropout), nn.Linear(size, n_outputs)]
        super().__init__(*layers)


class Matcher(nn.Module):
    """Utterance vector and description of a face to a space in which those of one segment lie together."""

    def __init__(self, size: int, n_face: int, *, hidden: int) -> None:
        super().__init__()
        self.voice = nn.Linear(size, MATCHED)
        self.face = nn.Sequential(nn.Linear(n_face, hidden), nn.GELU(), nn.Linear(hidden, MATCHED))

    def forward(self, z: Tensor, face: Tensor) -> Tensor:
        """(B, H) and (B, D) to (B, 2, E), whose products over E are cosines over the temperature."""
        sides = torch.stack([self.voice(z), self.face(face)], dim=1)
        return functional.normalize(sides, dim=2) / TEMPERATURE**0.5


class Network(nn.Module):
    """Shared encoder with one head per target, in the order of ``outputs`` (target name to number of scores).

    ``n_tracks`` > 0: a head on the frame vectors that predicts that many dense tracks. ``reconstruct``: another that
    predicts the features of spans which are hidden from the encoder. ``n_face`` > 0: a `Matcher` of voices with faces
    that are described by so many values.
    """

    def __init__(
        self,
        n_features: int,
        params: EncoderParams,
        *,
        outputs: Mapping[str, int],
        head_hidden: int,
        n_tracks: int = 0,
        reconstruct: bool = False,
        n_face: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(n_features, params)
        self.heads = nn.ModuleDict(
            {
                name: Head(params.hidden, count, hidden=head_hidden, dropout=params.dropout)
                for name, count in outputs.items()
            }
        )
        width = self.encoder.chunk_encoder.width
        sizes = {DENSE: n_tracks, RECONSTRUCTION: n_features if reconstruct else 0}
        self.frame_heads = nn.ModuleDict(
            {
                name: Head(width, size, hidden=head_hidden, dropout=params.dropout)
                for name, size in sizes.items()
                if size
            }
        )
        self.matcher = Matcher(params.hidden, n_face, hidden=head_hidden or MATCHED) if n_face else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Compute all outputs by name.

        In training one pass with hidden spans serves all heads; else only `RECONSTRUCTION` gets hidden spans.

        Returns:
            Logits (B, outputs) of every target, `VECTORS` (B, H) that they come from, and of the frame heads `DENSE`
            (B, nC, L, K) and `RECONSTRUCTION` (B, nC, L, F), NaN where nothing was hidden. `MATCHING` (B, 2, E) where
            the batch shows faces.
        """
        x, hidden = batch.x, None
        if RECONSTRUCTION in self.frame_heads:
            hidden = hidden_positions(batch.frame_mask, drawn=self.training)
            if self.training:
                x = cover(x, hidden)
        z, frames = self.encoder(x, batch.frame_mask, batch.chunk_mask)
        scores = {name: head(z) for name, head in self.heads.items()} | {VECTORS: z}
        if self.matcher is not None and FACE in batch.targets:
            scores[MATCHING] = self.matcher(z, batch.targets[FACE])
        if DENSE in self.frame_heads:
            scores[DENSE] = self.frame_heads[DENSE](frames)
        if hidden is not None:
            if not self.training:
                _, frames = self.encoder(cover(x, hidden), batch.frame_mask, batch.chunk_mask)
            predicted = self.frame_heads[RECONSTRUCTION](frames)
            scored = hidden[:, :, :: self.encoder.chunk_encoder.step].unsqueeze(-1)
            scores[RECONSTRUCTION] = torch.where(scored, predicted, torch.full_like(predicted, torch.nan))
        return scores


def hidden_positions(frame_mask: Tensor, *, drawn: bool) -> Tensor:
    """Which real frames to hide, (B, nC, m) bool: spans of `SPAN`, about `HIDDEN` of the frames.

    ``drawn``: at random places (torch's global generator); else every so many frames, the same in every call, so that
    held-out losses of two epochs can be compared.
    """
    m = frame_mask.shape[-1]
    span = min(SPAN, max(1, m // 4))
    if drawn:
        starts = torch.rand(frame_mask.shape, device=frame_mask.device) < HIDDEN / span
        window = functional.max_pool1d(functional.pad(starts.float(), (span - 1, 0)), span, stride=1)
        return (window > 0) & frame_mask
    position = torch.arange(m, device=frame_mask.device)
    return (position % round(span / HIDDEN) < span) & frame_mask


def cover(x: Tensor, hidden: Tensor) -> Tensor:
    """Set hidden frames to 0, the training mean of every feature."""
    return x.masked_fill(hidden.unsqueeze(-1), 0.0)
