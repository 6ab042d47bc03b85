"""Losses of the frame heads, and the guard against collapse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.objectives.losses import TrackLoss, variance_loss
from trainer.training.diagnostics import correlations


@pytest.mark.parametrize("kind", ["smooth_l1", "ccc"])
def test_missing_targets_have_no_influence(kind: str) -> None:
    torch.manual_seed(0)
    loss = TrackLoss(kind)
    predicted, target = torch.randn(2, 3, 4, 2, requires_grad=True), torch.randn(2, 3, 4, 2)
    target[0, 0] = torch.nan
    value = loss(predicted, target)
    value.backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    assert (predicted.grad[0, 0] == 0).all()
    changed = predicted.detach().clone()
    changed[0, 0] = 1e6
    torch.testing.assert_close(loss(changed, target), value.detach())
    nothing = loss(predicted, torch.full_like(target, torch.nan))
    assert nothing.item() == 0
    nothing.backward()  # a batch without any face must not break training


def test_losses_are_the_printed_formulas() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(1, 1, 50, 1), torch.randn(1, 1, 50, 1)
    a, b = x.flatten().double().numpy(), y.flatten().double().numpy()
    ccc = 2 * np.mean((a - a.mean()) * (b - b.mean())) / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    assert float(TrackLoss("ccc")(x, y)) == pytest.approx(1 - ccc, abs=1e-4)
    torch.testing.assert_close(TrackLoss()(x, y), torch.nn.functional.smooth_l1_loss(x, y))
    assert float(TrackLoss("ccc")(x, x)) == pytest.approx(0, abs=1e-4)
    assert correlations(x, y)[0] == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlations(torch.zeros_like(y), y) == [None]


def test_variance_loss_sees_a_collapse() -> None:
    torch.manual_seed(0)
    spread, collapsed = torch.randn(500, 8), torch.randn(500, 1) @ torch.randn(1, 8)
    assert variance_loss(spread) < 0.2 < variance_loss(collapsed)
    assert float(variance_loss(torch.zeros(4, 8))) == pytest.approx(0.99, abs=1e-3)  # floor .01 inside the root
