"""The network and its losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.data.dataset import Batch
from trainer.data.tracks import DENSE, VECTORS, VISEME
from trainer.objectives.losses import CrossEntropy, SummedLoss, TrackLoss
from trainer.recipes.orofacial.network import EMOTION, FaceNetwork
from trainer.recipes.orofacial.run import FrameCrossEntropy


def network(**options: Any) -> FaceNetwork:
    torch.manual_seed(0)
    shape = {"structure": "branches", "hidden": 5, "layers": 2, "dropout": 0.0} | options
    return FaceNetwork(3, outputs={DENSE: 4, VISEME: 2, EMOTION: 3}, **shape).eval()


def batch_of(x: torch.Tensor, lengths: list[int]) -> Batch:
    mask = torch.arange(x.shape[1])[None] < torch.tensor(lengths)[:, None]
    return Batch(x[:, None], mask[:, None], torch.ones(len(x), 1, dtype=torch.bool), {})


@pytest.mark.parametrize("structure", ["shared", "branches"])
@settings(max_examples=8)
@given(short=st.integers(1, 9), more=st.integers(0, 6), seed=st.integers(0, 99))
def test_padded_frames_have_no_influence(structure: str, short: int, more: int, seed: int) -> None:
    net = network(structure=structure)
    x = torch.randn(2, 9 + more, 3, generator=torch.Generator().manual_seed(seed))
    together = net(batch_of(x, [short, 9]))
    alone = net(batch_of(x[:1, :short], [short]))
    for name in (DENSE, VISEME):
        torch.testing.assert_close(together[name][:1, :, :short], alone[name], atol=1e-5, rtol=1e-5)
    for name in (EMOTION, VECTORS):
        torch.testing.assert_close(together[name][:1], alone[name], atol=1e-5, rtol=1e-5)


def test_branches_have_layers_of_their_own_and_shared_has_none() -> None:
    assert set(network().own) == {DENSE, VISEME, EMOTION}
    assert not network(structure="shared").own
    with pytest.raises(ValueError, match="one chunk"):
        network()(Batch(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3).bool(), torch.ones(1, 2).bool(), {}))


def test_the_multitask_loss_by_hand() -> None:
    guess = torch.tensor([[[[0.0], [1.0], [2.0], [9.0]]]])
    truth = torch.tensor([[[[0.0], [2.0], [4.0], [torch.nan]]]])
    # means 1 and 2, variances 2/3 and 8/3, covariance 4/3: CCC = (8/3) / (10/3 + 1) = 8/13
    logits = torch.tensor([[[[2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [5.0, 0.0]]]])
    classes = torch.tensor([[[0, 1, -1, -1]]])
    weights = torch.tensor([1.0, 3.0])
    said = (functional.softplus(torch.tensor(-2.0)) + 3 * functional.softplus(torch.tensor(-1.0))) / 4
    felt = torch.tensor([[0.0, 0.0, 0.0]])
    losses = {
        DENSE: TrackLoss("ccc"),
        VISEME: FrameCrossEntropy(CrossEntropy(weights)),
        EMOTION: CrossEntropy(torch.ones(3)),
    }
    total = SummedLoss(losses, {DENSE: 1.0, VISEME: 0.5, EMOTION: 0.1})
    scores = {DENSE: guess, VISEME: logits, EMOTION: felt}
    value = total(scores, {DENSE: truth, VISEME: classes, EMOTION: torch.tensor([2])})
    expected = 5 / 13 + 0.5 * float(said) + 0.1 * np.log(3)
    assert float(value) == pytest.approx(expected, abs=1e-5)
    # a held-out set that watches the movement alone
    assert float(total(scores, {DENSE: truth})) == pytest.approx(5 / 13, abs=1e-5)
    assert float(TrackLoss("mse")(guess, truth)) == pytest.approx(5 / 3)


def test_a_batch_without_any_label_gives_zero_and_finite_gradients() -> None:
    logits = torch.randn(1, 1, 4, 2, requires_grad=True)
    value = FrameCrossEntropy(CrossEntropy(torch.ones(2)))(logits, torch.full((1, 1, 4), -1))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()
