"""The penalisation matrix and its loss, against hand-computed values, the published matrix and plain class weights."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn import functional

from trainer.errors import InputError
from trainer.objectives.losses import ClassLoss, ConcordanceLoss, CrossEntropy, DistributionLoss, MultiLabelLoss
from trainer.objectives.penalty import PenalisedLoss, co_occurrence, matrix_of_rows, penalisation_matrix, penalise
from trainer.params import PenaltyParams

# CREMA-D's voice-only votes, all 7,442 clips; anger disgust fear happiness neutral sadness
CREMA = np.array(
    [
        [3032, 2214, 1153, 653, 2199, 756],
        [2214, 4101, 1732, 864, 3379, 1547],
        [1153, 1732, 3437, 789, 2986, 1710],
        [653, 864, 789, 1910, 1688, 525],
        [2199, 3379, 2986, 1688, 6380, 2995],
        [756, 1547, 1710, 525, 2995, 3209],
    ],
    dtype=float,
)
NAMES = ("anger", "joy", "sadness")
BASES: dict[str, ClassLoss] = {
    "hard": CrossEntropy(torch.ones(3), 0.05),
    "soft": DistributionLoss(),
    "multilabel": MultiLabelLoss(),
}
votes = arrays(np.int64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(0, 4))


def table(counts: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(counts, columns=[f"votes_{name}" for name in NAMES])


def made(base: ClassLoss, form: str, counts: np.ndarray, **options: float) -> PenalisedLoss:
    found = penalise(base, table(counts), NAMES, PenaltyParams(form=form, **options))
    assert isinstance(found, PenalisedLoss)
    return found


def loss(kind: str, form: str, counts: np.ndarray, **options: float) -> PenalisedLoss:
    return made(BASES[kind], form, counts, **options)


def targets(kind: str, generator: torch.Generator, count: int = 8) -> Tensor:
    if kind == "hard":
        return torch.randint(0, 3, (count,), generator=generator)
    if kind == "soft":
        return torch.softmax(torch.randn(count, 3, generator=generator), dim=1)
    return (torch.rand(count, 3, generator=generator) > 0.5).float()


def test_the_published_counts_give_the_published_row_sums() -> None:
    matrix = penalisation_matrix(CREMA)
    assert matrix.sum(axis=1).round(3).tolist() == [3.203, 2.302, 2.783, 3.916, 0.765, 3.132]
    assert matrix[0, 1] == pytest.approx(1 - 2214 / 4101)  # of those who chose disgust, how many did not hear anger


@given(votes)
def test_the_matrix_is_a_share_of_raters_who_do_not_agree(counts: np.ndarray) -> None:
    matrix = penalisation_matrix(co_occurrence(counts))
    assert ((matrix >= 0) & (matrix <= 1)).all()
    assert (np.diag(matrix) == 0).all()
    for j in range(3):
        for z in range(3):
            chosen = counts[counts[:, z] > 0]
            if j != z:
                assert matrix[j, z] == pytest.approx((chosen[:, j] == 0).mean() if len(chosen) else 1.0)


@pytest.mark.parametrize("kind", list(BASES))
def test_the_printed_form_is_a_weight_a_class(kind: str) -> None:
    """z stands in P alone: the triple sum of the paper equals a weighting of classes by the row sums of P."""
    generator = torch.Generator().manual_seed(1)
    counts = np.array([[2, 1, 0], [0, 3, 0], [1, 0, 1], [0, 0, 2]])
    matrix = torch.tensor(penalisation_matrix(co_occurrence(counts)), dtype=torch.float32)
    outputs, target = torch.randn(8, 3, generator=generator), targets(kind, generator)
    if kind == "hard":
        truth = functional.one_hot(target, 3) * 0.95 + 0.05 / 3
        each = -truth * functional.log_softmax(outputs, dim=1)
    elif kind == "soft":
        each = target * (target.log() - functional.log_softmax(outputs, dim=1))
    else:
        each = functional.binary_cross_entropy_with_logits(outputs, target, reduction="none")
    triple = sum(matrix[j, z] * each[i, j] for i in range(8) for j in range(3) for z in range(3)) / 8
    if kind == "multilabel":
        triple = triple / 3  # the mean over classes, as in the loss that it is added to
    torch.testing.assert_close(loss(kind, "printed", counts, beta=0.0)(outputs, target), triple)
    whole = BASES[kind](outputs, target) + 0.5 * triple
    torch.testing.assert_close(loss(kind, "printed", counts, alpha=0.5)(outputs, target), whole)


def test_the_printed_form_is_torchs_weighted_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(2)
    counts = np.array([[2, 1, 0], [0, 3, 0], [1, 0, 1], [0, 0, 2]])
    outputs, target = torch.randn(8, 3, generator=generator), targets("hard", generator)
    sums = torch.tensor(penalisation_matrix(co_occurrence(counts)).sum(axis=1), dtype=torch.float32)
    expected = functional.cross_entropy(outputs, target, weight=sums, reduction="sum") / 8
    printed = made(CrossEntropy(torch.ones(3)), "printed", counts, beta=0.0)
    torch.testing.assert_close(printed(outputs, target), expected)


def test_the_pairwise_form_by_hand() -> None:
    # sadness never goes with anger (P = 1), joy does for half of those who chose joy (P = 1/2)
    counts = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    outputs = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    value = made(CrossEntropy(torch.ones(3)), "pairwise", counts, beta=0.0)
    assert float(value(outputs, torch.tensor([0]))) == pytest.approx(1.5 * -math.log(0.75), rel=1e-6)


def test_the_pairwise_form_tells_a_near_miss_from_a_far_one() -> None:
    counts = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]])
    near, far = torch.tensor([[0.0, 3.0, -3.0]]), torch.tensor([[0.0, -3.0, 3.0]])
    target = torch.tensor([0])
    pairwise, printed = (made(CrossEntropy(torch.ones(3)), form, counts, beta=0.0) for form in ("pairwise", "printed"))
    assert pairwise(near, target) < pairwise(far, target)
    torch.testing.assert_close(printed(near, target), printed(far, target))


@pytest.mark.parametrize("kind", list(BASES))
@pytest.mark.parametrize("form", ["printed", "pairwise"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_gradients_are_finite_at_extremes_and_missing_labels_count_nowhere(kind: str, form: str, scale: float) -> None:
    generator = torch.Generator().manual_seed(3)
    counts = np.array([[2, 1, 0], [0, 3, 0], [1, 0, 1]])
    penalised = loss(kind, form, counts)
    outputs = (scale * torch.randn(8, 3, generator=generator)).requires_grad_()
    target = targets(kind, generator)
    missing = torch.tensor([True, False] * 4)
    target[missing] = -1 if kind == "hard" else float("nan")
    value = penalised(outputs, target)
    value.backward()
    assert torch.isfinite(value)
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad[missing] == 0).all()
    torch.testing.assert_close(value, penalised(outputs.detach()[~missing], target[~missing]))
    nobody = penalised(outputs.detach(), torch.full_like(target, -1 if kind == "hard" else float("nan")))
    assert float(nobody) == 0


def test_class_weights_weigh_both_parts_alike() -> None:
    """By hand: q = (1/2, 1/4, 1/4), truths anger and joy, weights 1 and 3; row sums of P 2, 1 1/2 and 2."""
    counts = np.array([[2, 0, 0], [0, 2, 1], [0, 0, 1]])  # of the two who chose sadness one chose joy too
    matrix = penalisation_matrix(co_occurrence(counts))
    assert matrix.sum(axis=1).tolist() == [2.0, 1.5, 1.0]
    outputs, target = torch.log(torch.tensor([[0.5, 0.25, 0.25]] * 2)), torch.tensor([0, 1])
    weights = torch.tensor([1.0, 3.0, 1.0])
    plain = (1 * math.log(2) + 3 * math.log(4)) / 4
    penalty = (1 * 2.0 * math.log(2) + 3 * 1.5 * math.log(4)) / 4
    both = made(CrossEntropy(weights), "printed", counts, alpha=0.5)
    assert float(both(outputs, target)) == pytest.approx(plain + 0.5 * penalty, rel=1e-6)
    # pairwise: anger goes with neither (P = 1, 1), joy not with anger (1), with half of sadness (1/2)
    near = made(CrossEntropy(weights), "pairwise", counts, beta=0.0)
    by_hand = (1 * 2 * -math.log(0.75) + 3 * (-math.log(0.5) + 0.5 * -math.log(0.75))) / 4
    assert float(near(outputs, target)) == pytest.approx(by_hand, rel=1e-6)


def test_a_multilabel_penalty_is_a_mean_over_classes_as_the_loss_is() -> None:
    counts = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])  # nothing goes together: every row sum of P is 2
    outputs, target = torch.zeros(4, 3), torch.tensor([[1.0, 0.0, 0.0]] * 4)
    assert float(MultiLabelLoss()(outputs, target)) == pytest.approx(math.log(2))
    assert float(made(MultiLabelLoss(), "printed", counts, beta=0.0)(outputs, target)) == pytest.approx(2 * math.log(2))


def test_smoothing_mixes_a_distribution_with_the_even_one() -> None:
    outputs, shares = torch.log(torch.tensor([[0.9, 0.05, 0.05]])), torch.tensor([[1.0, 0.0, 0.0]])
    smoothed = DistributionLoss(0.15)  # p becomes .9, .05, .05: what the network says
    assert float(smoothed(outputs, shares)) == pytest.approx(0.0, abs=1e-6)
    assert float(DistributionLoss()(outputs, shares)) == pytest.approx(-math.log(0.9), rel=1e-5)


def test_form_none_changes_nothing_and_what_is_missing_is_named() -> None:
    rows = table(np.ones((2, 3)))
    assert penalise(BASES["hard"], rows, NAMES, PenaltyParams()) is BASES["hard"]
    with pytest.raises(InputError, match="no column votes_joy"):
        matrix_of_rows(rows.drop(columns="votes_joy"), NAMES)
    with pytest.raises(InputError, match="no training row has a vote"):
        matrix_of_rows(rows * np.nan, NAMES)
    attribute = ConcordanceLoss(torch.zeros(1), torch.ones(1))
    with pytest.raises(InputError, match="is about classes, which the objective does not have"):
        penalise(attribute, rows, NAMES, PenaltyParams(form="printed"))
