"""The CNN over mel spectrogram chunks: shapes, and no trace of padding."""

from __future__ import annotations

import pytest
import torch

from trainer.models.encoders import MaskedBatchNorm, MelChunkEncoder, _normalise
from trainer.params import EncoderParams

FRAMES, BANDS = 13, 9


def _encoder(**options: object) -> MelChunkEncoder:
    torch.manual_seed(0)
    settings = {"chunk_encoder": "mel_cnn", "widths": (3, 4, 5, 6), "hidden": 7, "dropout": 0.0} | options
    return MelChunkEncoder(BANDS, EncoderParams.model_validate(settings))


def _trained(encoder: MelChunkEncoder) -> MelChunkEncoder:
    """Give the batch norms statistics that are not 0 and 1, as padding would else pass through unseen."""
    encoder.train()
    for _ in range(3):
        encoder(torch.randn(6, FRAMES, BANDS) * 2 + 1, torch.ones(6, FRAMES, dtype=torch.bool))
    return encoder.eval()


def test_the_authors_size() -> None:
    """32/1 32/1 64/2 64/2 128/2 128/2 128/2: 62 frames of 128 bands become 2 x 4 of 128 channels."""
    params = EncoderParams(chunk_encoder="mel_cnn", widths=(32, 32, 64, 64, 128, 128, 128), hidden=256, dropout=0.5)
    encoder = MelChunkEncoder(128, params).eval()
    assert encoder.strides == [1, 1, 2, 2, 2, 2, 2]
    vectors, frames = encoder(torch.randn(1, 62, 128), torch.ones(1, 62, dtype=torch.bool))
    assert vectors.shape == (1, 256)
    assert frames.shape == (1, 2, 4 * 128)
    assert (encoder.step, encoder.width) == (32, 512)


@pytest.mark.parametrize("length", range(1, FRAMES + 1))
def test_a_padded_chunk_is_the_chunk_without_padding(length: int) -> None:
    encoder = _trained(_encoder())
    x = torch.randn(2, FRAMES, BANDS)
    mask = (torch.arange(FRAMES) < length).expand(2, -1)
    for name in ("forward", "describe"):
        padded, bare = getattr(encoder, name)(x, mask), getattr(encoder, name)(x[:, :length], mask[:, :length])
        if name == "forward":
            (padded, frames), (bare, bare_frames) = padded, bare
            assert frames.shape == (2, -(-FRAMES // encoder.step), encoder.width)
            real = -(-length // encoder.step)
            torch.testing.assert_close(frames[:, :real], bare_frames)
            assert (frames[:, real:] == 0).all()
        torch.testing.assert_close(padded, bare)


def test_padding_teaches_nothing() -> None:
    """In training too: outputs, gradients and batch statistics are those of the real frames alone."""
    x, mask = torch.randn(4, FRAMES, BANDS), torch.arange(FRAMES) < torch.tensor([[13], [5], [1], [8]])
    found = []
    for padding in (0.0, 1e3):
        encoder = _encoder()
        vectors, _ = encoder(torch.where(mask[..., None], x, torch.full_like(x, padding)), mask)
        vectors.square().sum().backward()
        found.append([*(p.grad for p in encoder.parameters()), *(b for b in encoder.buffers()), vectors.detach()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_its_batch_norm_is_the_plain_one_on_real_cells() -> None:
    torch.manual_seed(0)
    masked, plain = MaskedBatchNorm(3), torch.nn.BatchNorm2d(3)
    maps = torch.randn(4, 3, 5, 6) * 2 + 1
    torch.testing.assert_close(_normalise(masked, maps, torch.ones(4, 5, dtype=torch.bool)), plain(maps))
    torch.testing.assert_close(masked.running_var, plain.running_var)
    short = torch.zeros(4, 5, dtype=torch.bool)
    short[:, :2] = True
    torch.testing.assert_close(_normalise(masked, maps, short)[:, :, :2], plain(maps[:, :, :2]))
