"""Chunk encoders: what is fast where nothing is padded gives what the masked way gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.models.encoders import ConvChunkEncoder, moments, statistics
from trainer.params import EncoderParams


@given(frames=st.integers(1, 40), scale=st.floats(0.01, 3.0), shift=st.floats(-3.0, 3.0), seed=st.integers(0, 99))
def test_moments_are_the_statistics_of_full_chunks(frames: int, scale: float, shift: float, seed: int) -> None:
    x = shift + scale * torch.randn((3, frames, 5), generator=torch.Generator().manual_seed(seed))
    wanted = statistics(x, torch.ones(3, frames, dtype=torch.bool))
    torch.testing.assert_close(moments(x, dim=1), wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moments(x.transpose(1, 2), dim=2), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("training", [False, True])
def test_a_padded_neighbour_changes_no_full_chunk_of_a_trained_encoder(training: bool) -> None:
    torch.manual_seed(0)
    encoder = ConvChunkEncoder(6, EncoderParams(dropout=0.0, widths=(8, 8), hidden=10))
    for _ in range(3):  # batch statistics other than those of the start
        encoder(torch.randn(8, 21, 6), torch.ones(8, 21, dtype=torch.bool))
    encoder.train(training)
    x, mask = torch.randn(4, 21, 6), torch.ones(4, 21, dtype=torch.bool)
    alone = encoder(x, mask)
    if training:  # batch statistics are of all chunks: the same chunks through the masked way
        short = torch.zeros(4, 24, dtype=torch.bool)
        short[:, :21] = True
        beside = encoder(torch.nn.functional.pad(x, (0, 0, 0, 3)), short)
        torch.testing.assert_close(alone[0], beside[0], rtol=1e-4, atol=1e-4)
    else:
        both = torch.cat([x, x[:1]]), torch.cat([mask, mask[:1].clone().fill_(False)])
        both[1][-1, :5] = True
        torch.testing.assert_close(alone[0], encoder(*both)[0][:4], rtol=1e-4, atol=1e-4)
