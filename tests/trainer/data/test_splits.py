"""Folds, early-stopping speakers, and the refusal of leaks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.rows import speaker_keys, text
from trainer.data.splits import assert_disjoint, folds, hold_out_speakers, label_subset
from trainer.errors import InputError


def _rows(speakers: list[str | None], **columns: list[str | None]) -> pd.DataFrame:
    ids = [f"s{number}" for number in range(len(speakers))]
    return pd.DataFrame({"segment_id": ids, "clip_id": ids, "corpus": "toy", "speaker": speakers, **columns})


def test_given_folds_are_used() -> None:
    rows = _rows(["a", "a", "b", "c"], fold=["1", "1", "2", "10"])
    result = folds(rows, how="auto")
    assert [fold.name for fold in result] == ["fold 1", "fold 2", "fold 10"]
    assert [fold.test.tolist() for fold in result] == [[0, 1], [2], [3]]
    assert result[0].train.tolist() == [2, 3]


def test_given_split_is_used_with_its_dev_rows() -> None:
    rows = _rows(["a", "b", "c"], split=["train", "dev", "test"])
    (fold,) = folds(rows, how="auto")
    assert fold.dev is not None
    assert (fold.train.tolist(), fold.dev.tolist(), fold.test.tolist()) == ([0], [1], [2])


def test_a_number_of_folds_overrides_what_is_given() -> None:
    rows = _rows(list("aabbccdd"), fold=list("11112222"))
    assert len(folds(rows, how=4)) == 4
    assert [len(fold.test) for fold in folds(rows, how="loso")] == [2, 2, 2, 2]


def test_what_kind_of_split_it_is_has_a_name() -> None:
    rows = _rows(list("aabbccdd"), fold=list("11112233"), split=["train"] * 6 + ["test"] * 2)
    for how, protocol, names in (
        ("auto", "given folds", ["fold 1", "fold 2", "fold 3"]),
        ("fold", "given folds", ["fold 1", "fold 2", "fold 3"]),
        ("split", "given split", ["split"]),
        ("loso", "leave one speaker out", ["speaker a", "speaker b", "speaker c", "speaker d"]),
        (2, "2 folds by speaker", ["fold 1", "fold 2"]),
    ):
        result = folds(rows, how=how)
        assert {fold.protocol for fold in result} == {protocol}
        assert [fold.name for fold in result] == names


def test_the_fold_before_can_do_the_early_stopping() -> None:
    """EMO-SUPERB's parts of CREMA-D: train 123 dev 4 test 5, train 234 dev 5 test 1, ..."""
    rows = _rows(list("abcde"), fold=[f"S{number}" for number in range(1, 6)])
    parts = {
        fold.name[-1]: ("".join(str(row + 1) for row in fold.train), [] if fold.dev is None else fold.dev.tolist())
        for fold in folds(rows, how="fold", dev="fold")
    }
    assert parts == {"1": ("234", [4]), "2": ("345", [0]), "3": ("145", [1]), "4": ("125", [2]), "5": ("123", [3])}
    assert folds(rows, how="fold", dev="fold")[0].protocol == "given folds, dev: the fold before"
    with pytest.raises(InputError, match="at least three folds, not 2"):
        folds(_rows(list("ab"), fold=["1", "2"]), how="fold", dev="fold")


@given(st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=60).filter(lambda names: len(set(names)) >= 3))
def test_folds_by_speaker_test_everyone_once_and_never_share_a_speaker(speakers: list[str]) -> None:
    rows = _rows(list(speakers))
    result = folds(rows, how="auto")
    assert sorted(np.concatenate([fold.test for fold in result])) == list(range(len(rows)))
    for fold in result:
        assert not set(rows["speaker"].iloc[fold.train]) & set(rows["speaker"].iloc[fold.test])


@pytest.mark.parametrize(
    "columns", [{"fold": ["1", "2", "2"]}, {"split": ["train", "test", "test"]}, {"split": ["dev", "train", "test"]}]
)
def test_a_leaking_manifest_is_refused_by_the_speakers_name(columns: dict[str, list[str | None]]) -> None:
    with pytest.raises(InputError, match="speaker leak: toy/ann in both"):
        folds(_rows(["ann", "ann", "bob"], **columns), how="auto")


@pytest.mark.parametrize(
    ("rows", "how", "message"),
    [
        (_rows(["a", "b"], fold=["1", None]), "auto", "'s1' has no fold"),
        (_rows(["a", "b"], split=["train", "dev"]), "auto", "needs train and test rows"),
        (_rows(["a", "b"], fold=["1", "1"]), "auto", "no training rows"),
        (_rows(["a", "a"]), "auto", "1 speaker"),
        (_rows(["a", "b"]), 3, "cannot make 3 folds"),
        (_rows(["a", "b"]), "fold", "the fold column is empty"),
        (_rows(["a", "b"]), "split", "needs train and test rows"),
        (_rows(["a", None]), "auto", "'s1' has no speaker"),
    ],
)
def test_unusable_protocols_are_named(rows: pd.DataFrame, how: int | str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        folds(rows, how=how)


def test_equal_names_in_two_corpora_are_two_people() -> None:
    rows = _rows(["a", "a"])
    rows["corpus"] = ["one", "two"]
    assert speaker_keys(rows).tolist() == ["one/a", "two/a"]
    rows["speaker"] = [None, None]
    assert speaker_keys(rows, unknown_is_own=True).tolist() == ["one/clip s0", "two/clip s1"]


@given(st.lists(st.sampled_from("abcdef"), min_size=4, max_size=80).filter(lambda names: len(set(names)) >= 2))
def test_held_out_speakers_are_whole_and_leave_someone_to_train_on(speakers: list[str]) -> None:
    rows = _rows(list(speakers))
    keys = speaker_keys(rows)
    train, dev = hold_out_speakers(text(rows, "corpus"), keys, share=0.2, rng=np.random.default_rng(0))
    assert sorted([*train, *dev]) == list(range(len(rows)))
    assert len(train)
    assert len(dev)
    assert_disjoint({"train": keys[train], "dev": keys[dev]})


def test_one_large_speaker_does_not_become_the_held_out_one() -> None:
    rows = _rows(["big"] * 90 + ["x"] * 6 + ["y"] * 4)
    _, dev = hold_out_speakers(text(rows, "corpus"), speaker_keys(rows), share=0.15, rng=np.random.default_rng(0))
    assert set(rows["speaker"].iloc[dev]) == {"x", "y"}


def test_a_single_speaker_cannot_be_held_out() -> None:
    rows = _rows(["a", "a"])
    with pytest.raises(InputError, match="only one speaker"):
        hold_out_speakers(text(rows, "corpus"), speaker_keys(rows), share=0.2, rng=np.random.default_rng(0))


def test_label_fraction_keeps_every_class() -> None:
    labels = np.array([0] * 40 + [1] * 20 + [2])
    chosen = label_subset(labels, fraction=0.25, rng=np.random.default_rng(0))
    assert np.bincount(labels[chosen]).tolist() == [10, 5, 1]
    other = label_subset(labels, fraction=0.25, rng=np.random.default_rng(1))
    assert chosen.tolist() != other.tolist()
