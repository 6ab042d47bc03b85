"""Targets, losses and measures of every objective, against hand-computed values and other libraries."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics
from sklearn.metrics import precision_recall_fscore_support
from torchmetrics.functional import concordance_corrcoef
from torchmetrics.functional.classification import multiclass_calibration_error

from trainer.errors import InputError
from trainer.objectives import OBJECTIVES, Attribute, Hard, MultiLabel, Soft, restore_objective
from trainer.objectives.metrics import CALIBRATION_BINS
from trainer.params import FinetuneParams

VOTES = pd.DataFrame(
    {
        "votes_anger": [6.0, 1.0, 0.0, np.nan, 3.0],
        "votes_fear": [2.0, 1.0, 0.0, np.nan, 3.0],
        "votes_calm": [0.0, 0.0, 0.0, np.nan, 0.0],  # offered, never chosen
        "votes_neutral": [0.0, 4.0, 0.0, np.nan, 0.0],
        "votes_other": [2.0, 0.0, 5.0, np.nan, 0.0],
    }
)


def _votes(kind: str, **options: Any) -> FinetuneParams:
    return FinetuneParams(objective=kind, target="votes", **options)  # type: ignore[arg-type]


def test_soft_targets_are_shares_of_the_votes_for_a_class() -> None:
    objective = Soft.plan(VOTES, _votes("soft"))
    assert objective.names == ("anger", "fear", "neutral")
    shares = objective.encode(VOTES, "votes")
    np.testing.assert_allclose(shares[[0, 1]], [[0.75, 0.25, 0], [1 / 6, 1 / 6, 4 / 6]], rtol=1e-6)
    assert objective.labelled(shares).tolist() == [True, True, False, False, True]  # only "other", or nobody asked


@pytest.mark.parametrize(("threshold", "first"), [("auto", [1, 0, 0]), (0.5, [1, 0, 0]), (0.1, [1, 1, 0])])
def test_multilabel_targets_count_other_in_the_total(threshold: float | str, first: list[int]) -> None:
    objective = MultiLabel.plan(VOTES, _votes("multilabel", vote_threshold=threshold))
    present = objective.encode(VOTES, "votes")
    assert present[0].tolist() == first  # 6, 2, 0 of 10 votes
    assert present[2].tolist() == [0, 0, 0]  # somebody was asked, and no class was chosen
    assert objective.labelled(present).tolist() == [True, True, True, False, True]


def test_a_share_of_exactly_the_threshold_is_not_above_it() -> None:
    rows = pd.DataFrame(
        {f"votes_{name}": [1.0] for name in ("anger", "fear", "happiness", "neutral", "sadness", "calm")}
    )
    assert not MultiLabel.plan(rows, _votes("multilabel")).encode(rows, "votes").any()  # six shares of 1/6
    soft = Soft.plan(rows, _votes("soft"))
    shares = soft.encode(rows, "votes")
    assert soft.measures(soft.sums(shares, shares))["f1_over_chance"].shape == (1,)
    assert np.isnan(soft.measures(soft.sums(shares, shares).sum(axis=0))["f1_over_chance"])  # no class is present


def test_attributes_come_in_the_scale_of_the_corpus() -> None:
    rows = pd.DataFrame({"arousal": [1.0, 3.0, np.nan, 7.0], "valence": [2.0, 2.0, np.nan, 5.0]})
    options = FinetuneParams(objective="attribute", target="arousal+valence")
    objective = Attribute.plan(rows, options)
    truth = objective.encode(rows, options.target)
    assert objective.labelled(truth).tolist() == [True, True, False, True]
    fitted = objective.fitted(truth[:2])
    assert fitted.mean == (2.0, 2.0)
    assert fitted.std == (1.0, 1.0)  # valence is constant there: 1, not 0
    assert fitted.predict(torch.tensor([[0.5, -1.0]])).tolist() == [[2.5, 1.0]]
    assert Attribute.plan(pd.DataFrame({"arousal": ["high"]}), options).names == ()
    with pytest.raises(InputError, match=r"arousal .* is the same for every utterance"):
        Attribute.plan(pd.DataFrame({"arousal": [2.0, 2.0], "valence": [1.0, 2.0]}), options)


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_config_and_prediction_table_give_everything_back(kind: str) -> None:
    extra: dict[str, Any] = {"multilabel": {"threshold": 0.3}, "attribute": {"mean": (1.0, 2.0), "std": (1.0, 0.5)}}
    objective = OBJECTIVES[kind](("a", "b"), **extra.get(kind, {}))
    raw = json.loads(json.dumps(objective.to_json()))
    assert restore_objective(["a", "b"], raw) == objective
    truth = np.array([0, 1, 1]) if kind == "hard" else np.array([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]])
    predicted = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    table = objective.table(truth, predicted).assign(p_c=np.nan)  # another corpus has a class c
    again = OBJECTIVES[kind].of_table(table)
    assert again.names == ("a", "b")
    assert again.measure(*again.read(table)) == pytest.approx(objective.measure(truth, predicted))


def test_a_folder_of_before_is_one_class() -> None:
    assert restore_objective(["x", "y"], {"kind": "hard"}) == Hard(("x", "y"))


LABELS = st.integers(2, 5).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=40)
    )
)


@given(LABELS)
def test_hard_measures_are_scikit_learns(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    size, pairs = drawn
    truth, predicted = np.array(pairs).T
    result = Hard(tuple("abcde"[:size])).measure(truth, np.eye(size)[predicted])
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=np.unique(truth), average="macro", zero_division=0
    )
    assert (result["macro_precision"], result["uar"], result["macro_f1"]) == pytest.approx((precision, recall, f1))
    assert result["accuracy"] == pytest.approx((truth == predicted).mean())


def test_recall_weighted_by_frequency_is_weighted_accuracy() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, 90), np.eye(4)[rng.integers(0, 4, 90)]
    objective = Hard(tuple("abcd"))
    each = objective.per_class(objective.sums(truth, predicted).sum(axis=0))
    assert (each["recall"] * each["n"]).sum() / 90 == pytest.approx(objective.measure(truth, predicted)["accuracy"])


def test_distribution_measures_by_hand_and_by_torchmetrics() -> None:
    objective = Soft(("a", "b", "c"))
    truth = np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])
    predicted = np.array([[0.25, 0.25, 0.5], [0.25, 0.75, 0.0], [0.7, 0.1, 0.2]])
    result = objective.measure(truth, predicted)
    # KL: ln 2, 0 and ln 5
    assert result["kl"] == pytest.approx((math.log(2) + math.log(5)) / 3)
    # the first row has no single top vote; of the others, b is right and c is not
    assert (result["uar"], result["accuracy"]) == (0.5, 0.5)
    # present above 1/3: truth ab, b, c; predicted c, b, a
    assert result["f1_over_chance"] == pytest.approx((0 + 2 / 3 + 0) / 3)

    rng = np.random.default_rng(1)
    truth, predicted = rng.dirichlet(np.ones(3), 200), rng.dirichlet(np.ones(3), 200).astype(np.float32)
    expected = multiclass_calibration_error(
        torch.from_numpy(predicted),
        torch.from_numpy(truth.argmax(axis=1)),
        num_classes=3,
        n_bins=CALIBRATION_BINS,
        norm="l1",
    )
    assert objective.measure(truth, predicted)["ece"] == pytest.approx(float(expected), abs=1e-6)


def test_a_probability_of_zero_is_expensive_and_not_infinite() -> None:
    result = Soft(("a", "b")).measure(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert 10 < result["kl"] < 20


@given(arrays(bool, st.tuples(st.integers(1, 20), st.just(3))), arrays(bool, st.tuples(st.just(20), st.just(3))))
def test_multilabel_measures_are_scikit_learns(truth: np.ndarray, predicted: np.ndarray) -> None:
    predicted = predicted[: len(truth)]
    result = MultiLabel(("a", "b", "c")).measure(truth.astype(float), predicted.astype(float))
    there = np.flatnonzero(truth.any(axis=0))
    if not len(there):
        assert "macro_f1" not in result
        return
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=there, average="macro", zero_division=0
    )
    assert (result["macro_precision"], result["macro_recall"], result["macro_f1"]) == pytest.approx(
        (precision, recall, f1)
    )
    always = MultiLabel(("a", "b", "c")).measure(truth.astype(float), np.ones(truth.shape))
    assert always["macro_f1"] == pytest.approx(result["chance"])


def test_ccc_is_torchmetrics_and_does_not_depend_on_the_scale() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(3, 1, (50, 2))
    predicted = truth * 0.5 + rng.normal(2, 1, (50, 2))
    objective = Attribute(("arousal", "valence"))
    result = objective.measure(truth, predicted)
    # torchmetrics divides variances by n - 1 and the squared difference of means by nothing: near, not equal
    near = concordance_corrcoef(torch.from_numpy(predicted), torch.from_numpy(truth))
    assert result["ccc_arousal"] == pytest.approx(float(near[0]), abs=0.01)
    x, y = predicted[:, 1], truth[:, 1]
    exact = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert result["ccc_valence"] == pytest.approx(exact)
    assert result["ccc"] == pytest.approx((result["ccc_arousal"] + result["ccc_valence"]) / 2)
    moved = objective.measure(truth * 100 + 1e5, predicted * 100 + 1e5)
    assert moved["ccc_valence"] == pytest.approx(result["ccc_valence"], abs=1e-6)


@given(arrays(np.float64, 12, elements=st.floats(-5, 5)), arrays(np.float64, 12, elements=st.floats(-5, 5)))
def test_ccc_lies_between_minus_one_and_one_and_is_symmetric(x: np.ndarray, y: np.ndarray) -> None:
    objective = Attribute(("arousal",))
    one, two = (objective.measure(a[:, None], b[:, None])["ccc"] for a, b in ((x, y), (y, x)))
    assert -1 - 1e-9 <= one <= 1 + 1e-9
    assert one == pytest.approx(two, abs=1e-6)
    if x.std() > 1e-3:
        assert objective.measure(x[:, None], x[:, None])["ccc"] == pytest.approx(1.0)


def test_missing_attributes_count_nowhere() -> None:
    truth = np.array([[1.0, np.nan], [2.0, np.nan], [4.0, 3.0], [np.nan, np.nan]])
    objective = Attribute(("arousal", "valence"))
    predicted = np.array([[1.5, 9.0], [2.0, 9.0], [3.5, 3.0], [9.0, 9.0]])
    alone = Attribute(("arousal",)).measure(truth[:3, :1], predicted[:3, :1])
    assert objective.measure(truth, predicted)["ccc_arousal"] == pytest.approx(alone["ccc"])


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_sums_of_parts_are_the_sum_of_the_whole(kind: str) -> None:
    """What the bootstrap over speakers relies on."""
    rng = np.random.default_rng(3)
    objective = OBJECTIVES[kind](("a", "b", "c"))
    truth: Any = rng.integers(0, 3, 30) if kind == "hard" else rng.dirichlet(np.ones(3), 30)
    if kind == "multilabel":
        truth = (truth > 0.3).astype(float)
    predicted = rng.dirichlet(np.ones(3), 30)
    sums = objective.sums(truth, predicted)
    halves = np.stack([sums[:10].sum(axis=0), sums[10:].sum(axis=0)])
    whole = objective.measures(halves.sum(axis=0))
    assert {name: float(value) for name, value in whole.items()} == pytest.approx(objective.measure(truth, predicted))
    assert all(value.shape == (2,) for value in objective.measures(halves).values())
    assert set(objective.shown) | {"chance"} == set(whole)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.just(4))), st.integers(0, 2**32 - 1))
def test_multilabel_measures_are_those_of_scikit_learn(truth: np.ndarray, seed: int) -> None:
    predicted = np.random.default_rng(seed).integers(0, 8, truth.shape) / 8 + 0.0625  # some are equal
    objective = MultiLabel(("anger", "fear", "joy", "sadness"))
    found = objective.measures(objective.sums(truth.astype(np.float32), predicted).sum(axis=0))
    assert found["hamming"] == pytest.approx(metrics.hamming_loss(truth, predicted > 0.5))
    assert found["ranking"] == pytest.approx(metrics.label_ranking_loss(truth, predicted))
    assert found["coverage"] == pytest.approx(metrics.coverage_error(truth, predicted))


def test_multilabel_measures_by_hand() -> None:
    objective = MultiLabel(("anger", "fear", "joy"))
    truth, predicted = np.array([[1.0, 0.0, 1.0]]), np.array([[0.9, 0.6, 0.4]])
    found = objective.measures(objective.sums(truth, predicted).sum(axis=0))
    # fear is claimed and joy missed: two of three; fear is before joy, one of two pairs; three must be taken
    assert [float(found[name]) for name in ("hamming", "ranking", "coverage")] == pytest.approx([2 / 3, 1 / 2, 3.0])
