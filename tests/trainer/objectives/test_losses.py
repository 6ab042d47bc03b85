from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn import functional

from trainer.objectives.losses import (
    ConcordanceLoss,
    CrossEntropy,
    DistributionLoss,
    Loss,
    MultiLabelLoss,
    SummedLoss,
    balanced_weights,
)


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


NAN = float("nan")
UNIT = ConcordanceLoss(torch.zeros(2), torch.ones(2))


def test_distribution_loss_by_hand() -> None:
    # q = (1/4, 3/4); p = (1/2, 1/2): .5 ln 2 + .5 ln (2/3); p = (0, 1): ln (4/3); the third row has no votes
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [5.0, 0.0]])
    target = torch.tensor([[0.5, 0.5], [0.0, 1.0], [NAN, NAN]])
    expected = (0.5 * math.log(2) + 0.5 * math.log(2 / 3) + math.log(4 / 3)) / 2
    assert float(DistributionLoss()(logits, target)) == pytest.approx(expected, rel=1e-6)


def test_distribution_loss_is_soft_cross_entropy_less_the_entropy_of_the_votes() -> None:
    torch.manual_seed(1)
    logits, p = torch.randn(9, 4), torch.softmax(3 * torch.randn(9, 4), dim=1)
    entropy = -(p * p.log()).sum(dim=1).mean()
    torch.testing.assert_close(DistributionLoss()(logits, p), functional.cross_entropy(logits, p) - entropy)


def test_multilabel_loss_by_hand_and_by_torch() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [1.0, 1.0]])
    loss = MultiLabelLoss()(logits, torch.tensor([[1.0, 0.0], [NAN, NAN]]))
    assert float(loss) == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-6)
    torch.manual_seed(2)
    logits, target = torch.randn(7, 3), torch.randint(0, 2, (7, 3)).float()
    expected = functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(MultiLabelLoss()(logits, target), expected)


def test_concordance_loss_by_hand() -> None:
    # x = 1 2 3, y = 2 4 6: cov 4/3, var 2/3 and 8/3, means differ by 2: CCC = (8/3) / (10/3 + 4) = 4/11
    # the second attribute is predicted exactly where it is known
    outputs = torch.tensor([[1.0, 5.0], [2.0, 7.0], [3.0, 0.0]])
    target = torch.tensor([[2.0, 5.0], [4.0, 7.0], [6.0, NAN]])
    assert float(UNIT(outputs, target)) == pytest.approx((1 - 4 / 11 + 0) / 2, abs=1e-6)


def test_concordance_does_not_depend_on_the_scale_of_the_corpus() -> None:
    torch.manual_seed(3)
    outputs, y = torch.randn(20, 2), torch.randn(20, 2)
    mean, std = torch.tensor([4.0, 30.0]), torch.tensor([1.5, 10.0])
    torch.testing.assert_close(
        ConcordanceLoss(mean, std)(outputs, y * std + mean), UNIT(outputs, y), rtol=1e-4, atol=1e-5
    )


@given(arrays("float32", (6, 2), elements=st.floats(-10, 10, width=32)))
def test_concordance_loss_lies_between_zero_and_two(y: np.ndarray) -> None:
    loss = UNIT(torch.from_numpy(y[::-1].copy()), torch.from_numpy(y))
    assert -1e-5 <= float(loss) <= 2 + 1e-5


EXTREMES: list[tuple[str, Loss, Tensor, Tensor]] = [
    ("votes of 0 and 1", DistributionLoss(), torch.tensor([[1e4, -1e4], [-1e4, 1e4]]), torch.eye(2)),
    ("votes the other way", DistributionLoss(), torch.tensor([[1e4, -1e4], [-1e4, 1e4]]), torch.eye(2).flip(0)),
    ("no votes", DistributionLoss(), torch.zeros(2, 2), torch.full((2, 2), NAN)),
    ("classes far off", MultiLabelLoss(), torch.tensor([[1e4, -1e4], [-1e4, 1e4]]), torch.eye(2).flip(0)),
    ("no classes", MultiLabelLoss(), torch.zeros(2, 2), torch.full((2, 2), NAN)),
    ("constant prediction", UNIT, torch.ones(4, 2), torch.arange(8.0).view(4, 2)),
    ("constant truth", UNIT, torch.arange(8.0).view(4, 2), torch.ones(4, 2)),
    ("both constant and equal", UNIT, torch.ones(4, 2), torch.ones(4, 2)),
    ("one value", UNIT, torch.ones(1, 2), torch.ones(1, 2)),
    ("no value", UNIT, torch.ones(3, 2), torch.full((3, 2), NAN)),
    ("huge", UNIT, torch.tensor([[1e6, -1e6], [-1e6, 1e6]]), torch.eye(2)),
]


@pytest.mark.parametrize(("name", "loss", "outputs", "target"), EXTREMES, ids=[case[0] for case in EXTREMES])
def test_value_and_gradient_stay_finite_at_extremes(name: str, loss: Loss, outputs: Tensor, target: Tensor) -> None:
    outputs = outputs.clone().requires_grad_()
    value = loss(outputs, target)
    value.backward()
    assert torch.isfinite(value)
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    if name.startswith(("no ", "one ")):
        assert (outputs.grad == 0).all()


@pytest.mark.parametrize("loss", [DistributionLoss(), MultiLabelLoss(), UNIT], ids=["kl", "bce", "ccc"])
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    torch.manual_seed(4)
    outputs = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    target = torch.softmax(torch.randn(5, 2, dtype=torch.float64), dim=1)
    target[3] = NAN
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (outputs,))
