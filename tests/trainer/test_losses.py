from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainer.losses import CrossEntropy, SummedLoss, balanced_weights


def test_hand_computed_value() -> None:
    # softmax of (0, ln 3) is (1/4, 3/4); weights 2 and 1; the row without a label counts nowhere
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [9.0, -9.0]])
    loss = CrossEntropy(torch.tensor([2.0, 1.0]))(logits, torch.tensor([0, 1, -1]))
    assert float(loss) == pytest.approx((2 * math.log(4) + math.log(4 / 3)) / 3, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_torch_on_the_rows_with_a_label(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, target, weights = torch.randn(20, 4), torch.randint(0, 4, (20,)), torch.rand(4)
    missing = torch.rand(20) < 0.3
    loss = CrossEntropy(weights, smoothing)(logits, torch.where(missing, -1, target))
    expected = functional.cross_entropy(logits[~missing], target[~missing], weight=weights, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_a_batch_without_labels_of_a_task_has_finite_gradients() -> None:
    one, two = torch.randn(3, 2, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    loss = SummedLoss({"one": CrossEntropy(torch.ones(2)), "two": CrossEntropy(torch.ones(4))}, {"one": 1, "two": 2})
    value = loss({"one": one, "two": two}, {"one": torch.tensor([-1, -1, -1]), "two": torch.tensor([0, -1, 3])})
    value.backward()
    assert torch.isfinite(value)
    assert one.grad is not None
    assert (one.grad == 0).all()
    assert two.grad is not None
    assert torch.isfinite(two.grad).all()
    assert (two.grad[1] == 0).all()


def test_tasks_are_summed_with_their_weights() -> None:
    logits = {"one": torch.zeros(2, 2), "two": torch.zeros(2, 4)}
    targets = {"one": torch.tensor([0, 1]), "two": torch.tensor([3, -1])}
    loss = SummedLoss({"one": CrossEntropy(torch.ones(2)), "two": CrossEntropy(torch.ones(4))}, {"one": 1, "two": 0.5})
    assert float(loss(logits, targets)) == pytest.approx(math.log(2) + 0.5 * math.log(4))


def test_gradients_stay_finite_at_extreme_scores() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    CrossEntropy(torch.ones(2))(logits, torch.tensor([1, 1])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_balanced_weights_ignore_missing_labels_and_empty_classes() -> None:
    weights = balanced_weights(np.array([0, 0, 0, 1, -1, -1]), 3)
    assert weights.tolist() == pytest.approx([4 / 9, 4 / 3, 0])
