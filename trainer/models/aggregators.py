"""Aggregators: a variable number of real chunk vectors to one utterance vector.

To add one: write a module with ``forward(h, mask)``, name it in AGGREGATORS and in the type of ``encoder.aggregator``
(trainer/params/training.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over real chunks: (B, nC, H) and (B, nC) bool to (B, H)."""
    weights = mask.to(values.dtype).unsqueeze(-1)
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


class MeanAggregator(nn.Module):
    """z = mean_i h_i over real chunks [code: Lin & Busso]."""

    def __init__(self, hidden: int) -> None:
        super().__init__()

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """(B, nC, H) chunk vectors and (B, nC) mask to (B, H)."""
        return masked_mean(h, mask)


class GatedAggregator(nn.Module):
    """g_i = sigmoid(w . h_i + b), z = mean_i (g_i h_i) over real chunks [code: Lin & Busso]."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden, 1)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """(B, nC, H) chunk vectors and (B, nC) mask to (B, H)."""
        return masked_mean(torch.sigmoid(self.gate(h)) * h, mask)


class RnnAttentionAggregator(nn.Module):
    """An RNN over the chunks, attention of its last state over all of them [code: Lin & Busso].

    h_t = RNN(x)_t, s_t = (W h_t) . h_T, alpha = softmax(s), c = sum_t alpha_t h_t, z = tanh(W_c [c; h_T]). The cell is
    a plain one, h_t = tanh(A x_t + B h_{t-1} + b).
    """

    cell: Callable[..., nn.RNN | nn.LSTM] = nn.RNN

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rnn = self.cell(hidden, hidden, batch_first=True)
        self.score = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(2 * hidden, hidden, bias=False)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """(B, nC, H) chunk vectors and (B, nC) mask to (B, H)."""
        # Copies lie between real chunks of a short utterance: real ones move to the front, in their order.
        order = torch.argsort(~mask, dim=1, stable=True)
        h = h.gather(1, order.unsqueeze(-1).expand_as(h))
        count = mask.sum(dim=1)
        packed = pack_padded_sequence(h, count.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)  # (B, most real chunks, H)
        last = states[torch.arange(len(h), device=h.device), count - 1]
        scores = (self.score(states) * last.unsqueeze(1)).sum(dim=-1)
        real = torch.arange(states.shape[1], device=h.device) < count.unsqueeze(1)
        alpha = torch.softmax(scores.masked_fill(~real, -torch.inf), dim=1)
        context = (alpha.unsqueeze(-1) * states).sum(dim=1)
        return torch.tanh(self.out(torch.cat([context, last], dim=1)))


class LstmAttentionAggregator(RnnAttentionAggregator):
    """The same with an LSTM [ours]."""

    cell = nn.LSTM


class SelfAttentionAggregator(nn.Module):
    """Chunks attend to each other, z = mean_i LayerNorm(h_i + MultiHead(h)_i) over real chunks [code: Lin & Busso].

    The number of heads is the largest of 1 to 8 that divides H [ours]. Chunks carry no position [ours].
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        heads = max(count for count in range(1, 9) if hidden % count == 0)
        self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """(B, nC, H) chunk vectors and (B, nC) mask to (B, H)."""
        attended, _ = self.attention(h, h, h, key_padding_mask=~mask, need_weights=False)
        return masked_mean(self.norm(h + attended), mask)


# name in ``encoder.aggregator`` -> class
AGGREGATORS: dict[str, Callable[[int], nn.Module]] = {
    "mean": MeanAggregator,
    "gated": GatedAggregator,
    "rnn_attention": RnnAttentionAggregator,
    "lstm_attention": LstmAttentionAggregator,
    "self_attention": SelfAttentionAggregator,
}
