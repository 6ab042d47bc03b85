"""Encoders and aggregators: what is masked has no influence, and the shape contract."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from trainer.data.dataset import Batch
from trainer.data.tracks import VECTORS
from trainer.models.aggregators import AGGREGATORS
from trainer.models.encoders import CHUNK_ENCODERS, MaskedBatchNorm
from trainer.models.network import Network
from trainer.params import EncoderParams
from trainer.training.diagnostics import dead_units, effective_rank


def _batch(n: int = 5, count: int = 4, frames: int = 12, features: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, count, frames, features, generator=generator)
    chunk_mask = torch.ones(n, count, dtype=torch.bool)
    chunk_mask[0, 1:] = False
    chunk_mask[2:, 3] = False
    frame_mask = chunk_mask[..., None].expand(n, count, frames).clone()
    frame_mask[0, 0, 7:] = False  # a short utterance
    return Batch(x * frame_mask[..., None], frame_mask, chunk_mask, {})


def _network(chunk_encoder: str, aggregator: str) -> Network:
    torch.manual_seed(1)
    params = EncoderParams(
        chunk_encoder=chunk_encoder, aggregator=aggregator, widths=(6, 6), kernel=3, hidden=7, dropout=0.0
    )
    return Network(3, params, outputs={"one": 2, "two": 4}, head_hidden=5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("aggregator", list(AGGREGATORS))
@pytest.mark.parametrize("chunk_encoder", list(CHUNK_ENCODERS))
def test_padding_has_no_influence(chunk_encoder: str, aggregator: str, training: bool) -> None:
    network = _network(chunk_encoder, aggregator).train(training)
    batch = _batch()
    noisy = torch.where(batch.frame_mask[..., None], batch.x, torch.full_like(batch.x, 1e3))
    clean, dirty = network(batch), network(replace(batch, x=noisy))
    for name in clean:
        torch.testing.assert_close(clean[name], dirty[name])


@pytest.mark.parametrize("aggregator", list(AGGREGATORS))
def test_more_padded_chunks_change_nothing(aggregator: str) -> None:
    network = _network("cnn", aggregator).eval()
    batch = _batch()
    more = Batch(
        torch.cat([batch.x, torch.zeros_like(batch.x)], dim=1),
        torch.cat([batch.frame_mask, torch.zeros_like(batch.frame_mask)], dim=1),
        torch.cat([batch.chunk_mask, torch.zeros_like(batch.chunk_mask)], dim=1),
        {},
    )
    torch.testing.assert_close(network(batch)[VECTORS], network(more)[VECTORS])


@pytest.mark.parametrize("aggregator", ["mean", "gated", "self_attention"])  # an RNN hears the order
def test_order_of_chunks_does_not_matter(aggregator: str) -> None:
    torch.manual_seed(0)
    module = AGGREGATORS[aggregator](6)
    h, mask = torch.randn(3, 5, 6), torch.tensor([[1, 1, 0, 1, 0]] * 3).bool()
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(module(h, mask), module(h[:, order], mask[:, order]))


def test_gated_is_the_printed_formula() -> None:
    torch.manual_seed(0)
    module = AGGREGATORS["gated"](4)
    h = torch.randn(1, 3, 4)
    gate = module.gate
    expected = sum(torch.sigmoid(gate.weight[0] @ h[0, i] + gate.bias) * h[0, i] for i in range(2)) / 2
    torch.testing.assert_close(module(h, torch.tensor([[True, True, False]]))[0], expected)


def test_rnn_attention_has_the_plain_cell_of_the_released_code() -> None:
    torch.manual_seed(0)
    cell = AGGREGATORS["rnn_attention"](3).rnn
    x, state = torch.randn(2, 3), torch.zeros(3)
    for step in x:
        state = torch.tanh(cell.weight_ih_l0 @ step + cell.bias_ih_l0 + cell.weight_hh_l0 @ state + cell.bias_hh_l0)
    torch.testing.assert_close(cell(x.unsqueeze(0))[0][0, -1], state)
    assert AGGREGATORS["lstm_attention"](3).rnn.weight_ih_l0.shape == (12, 3)


@pytest.mark.parametrize("name", ["rnn_attention", "lstm_attention"])
def test_rnn_attention_is_the_printed_formula_wherever_copies_lie(name: str) -> None:
    torch.manual_seed(0)
    module = AGGREGATORS[name](4)
    h = torch.randn(1, 4, 4)
    states = module.rnn(h[:, [0, 2]])[0][0]  # of the real chunks alone
    alpha = torch.softmax(torch.stack([(module.score.weight @ state) @ states[-1] for state in states]), dim=0)
    context = sum(a * state for a, state in zip(alpha, states, strict=True))
    expected = torch.tanh(module.out.weight @ torch.cat([context, states[-1]]))
    torch.testing.assert_close(module(h, torch.tensor([[True, False, True, False]]))[0], expected)


def test_self_attention_lets_every_chunk_see_every_other() -> None:
    torch.manual_seed(0)
    module = AGGREGATORS["self_attention"](6).eval()
    h = torch.randn(1, 3, 6, requires_grad=True)
    attended = module.attention(h, h, h)[0]
    expected = module.norm(h + attended).mean(dim=1)
    mask = torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(module(h, mask), expected)
    gradient = torch.autograd.grad(module.norm(h + attended)[0, 0].square().sum(), h)[0]
    assert (gradient[0, 1:].abs().sum(dim=1) > 0).all()  # the first chunk's vector depends on the others


def test_masked_batch_norm_equals_the_plain_one_on_real_frames() -> None:
    torch.manual_seed(0)
    masked, plain = MaskedBatchNorm(4), torch.nn.BatchNorm1d(4)
    x, mask = torch.randn(6, 5, 4) * 3 + 2, torch.rand(6, 5) > 0.4
    y = masked(x, mask)
    torch.testing.assert_close(y[mask], plain(x[mask]))
    torch.testing.assert_close(masked.running_var, plain.running_var)
    assert (y[~mask] == 0).all()


def test_a_single_real_chunk_can_be_trained_on() -> None:
    network = _network("lstm", "mean").train()
    batch = _batch(n=1)
    loss = sum(score.sum() for score in network(batch).values())
    loss.backward()
    assert torch.isfinite(loss)


def test_encoder_output_is_not_rectified() -> None:
    z = _network("cnn", "mean").eval()(_batch(n=40))[VECTORS]
    assert (z < 0).any()
    assert dead_units(z) == 0


def test_effective_rank_sees_a_collapse() -> None:
    torch.manual_seed(0)
    spread = torch.randn(200, 10)
    collapsed = torch.randn(200, 1) @ torch.randn(1, 10)
    assert effective_rank(spread) > 9
    assert effective_rank(collapsed) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("field", "known"), [("chunk_encoder", CHUNK_ENCODERS), ("aggregator", AGGREGATORS)])
def test_unknown_names_are_refused_by_name(field: str, known: dict[str, object]) -> None:
    assert get_args(EncoderParams.model_fields[field].annotation) == tuple(known)
    with pytest.raises(ValidationError, match=f"{field}\n.*'{next(iter(known))}'.*input_value='median'"):
        EncoderParams.model_validate({field: "median"})
