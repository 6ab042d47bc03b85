"""The learnt sum over layers of a speech model."""

from __future__ import annotations

import pytest
import torch

from trainer.errors import InputError
from trainer.models.layers import LayerSum, check_layers
from trainer.models.network import SpeechEncoder
from trainer.params import EncoderParams


def test_the_sum_is_the_mean_at_first_and_follows_its_weights() -> None:
    layers = LayerSum(3)
    x = torch.randn(4, 5, 3 * 7)
    torch.testing.assert_close(layers(x), x.reshape(4, 5, 3, 7).mean(dim=2))
    with torch.no_grad():
        layers.scores.copy_(torch.tensor([0.0, 50.0, 0.0]))
    torch.testing.assert_close(layers(x), x[..., 7:14])


def test_an_encoder_learns_which_layer_to_hear() -> None:
    torch.manual_seed(0)
    encoder = SpeechEncoder(12, EncoderParams(layers=3, widths=(8,), hidden=6, dropout=0.0))
    assert encoder.chunk_encoder.convs[0].in_channels == 4
    x, mask, chunks = (
        torch.randn(2, 1, 30, 12),
        torch.ones(2, 1, 30, dtype=torch.bool),
        torch.ones(2, 1, dtype=torch.bool),
    )
    vectors, _ = encoder(x, mask, chunks)
    vectors.square().sum().backward()
    assert encoder.layer_sum.scores.grad.abs().max() > 0
    other = SpeechEncoder(12, EncoderParams(layers=3, widths=(8,), hidden=6, dropout=0.0))
    with torch.no_grad():
        encoder.layer_sum.scores.add_(torch.tensor([1.0, 0.0, 0.0]))
    for part in ("conv", "chunk", "all"):
        other.carry_over(encoder, part=part)
        torch.testing.assert_close(other.layer_sum.scores, encoder.layer_sum.scores)


def test_features_that_are_no_layers_are_refused() -> None:
    names = [f"speech_model_{layer}_{value:04d}" for layer in range(3) for value in range(4)]
    check_layers(names, 3)
    check_layers(["a", "b"], 1)
    for wrong, count in ((names, 2), (names, 4), (names, 5), ([f"lld{n}" for n in range(130)], 2), (names[:4], 4)):
        with pytest.raises(InputError, match=r"features of the shards are not \d layers side by side"):
            check_layers(wrong, count)
