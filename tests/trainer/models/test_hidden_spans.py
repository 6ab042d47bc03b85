"""Hidden spans of the input, and the head that gives them back."""

from __future__ import annotations

import torch

from trainer.data.dataset import Batch
from trainer.data.tracks import RECONSTRUCTION, VECTORS
from trainer.models.network import Network, cover, hidden_positions
from trainer.params import EncoderParams


def test_about_a_third_of_the_real_frames_is_hidden() -> None:
    torch.manual_seed(0)
    mask = torch.ones(40, 3, 62, dtype=torch.bool)
    mask[0, 1, 30:] = False
    drawn, fixed = hidden_positions(mask, drawn=True), hidden_positions(mask, drawn=False)
    assert 0.2 < drawn.float().mean() < 0.4
    assert 0.2 < fixed.float().mean() < 0.4
    assert not torch.equal(drawn, hidden_positions(mask, drawn=True))
    assert torch.equal(fixed, hidden_positions(mask, drawn=False))
    assert not (drawn & ~mask).any()
    x = torch.randn(40, 3, 62, 5)
    assert (cover(x, drawn)[drawn] == 0).all()
    torch.testing.assert_close(cover(x, drawn)[~drawn], x[~drawn])


def test_reconstruction_never_sees_what_it_must_give_back() -> None:
    torch.manual_seed(0)
    params = EncoderParams(widths=(6,), kernel=3, hidden=5, dropout=0.0)
    network = Network(3, params, outputs={}, head_hidden=4, reconstruct=True).eval()
    x, frames, chunks = torch.randn(2, 2, 62, 3), torch.ones(2, 2, 62).bool(), torch.ones(2, 2).bool()
    hidden = hidden_positions(frames, drawn=False)
    noisy = torch.where(hidden.unsqueeze(-1), 50.0, x)
    one, two = network(Batch(x, frames, chunks, {})), network(Batch(noisy, frames, chunks, {}))
    torch.testing.assert_close(one[RECONSTRUCTION], two[RECONSTRUCTION], equal_nan=True)
    assert 0.2 < torch.isfinite(one[RECONSTRUCTION]).float().mean() < 0.4
    assert not torch.equal(one[VECTORS], two[VECTORS])  # the other heads hear everything
