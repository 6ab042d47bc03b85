"""Augmentation of a batch, and training with it, without anybody held out, at a changing learning rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import labelled_rows
from trainer.data.dataset import Batch
from trainer.errors import InputError
from trainer.finetuning.finetune import finetune
from trainer.params import AugmentParams, Params, parse_params
from trainer.training.augment import augment


def batch(count: int = 6, chunks: int = 2, frames: int = 10, features: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, frames + 1, (count, chunks, 1), generator=generator)
    mask = torch.arange(frames) < lengths
    x = (torch.randn(count, chunks, frames, features, generator=generator) + 5.0) * mask.unsqueeze(-1)
    return Batch(x, mask, torch.ones(count, chunks, dtype=torch.bool), {"emotion": torch.arange(count)})


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "options", [{"noise": 0.5}, {"feature_mask": 0.5}, {"time_mask": 0.5}, {"mixup": 0.4}], ids=lambda o: next(iter(o))
)
def test_padding_stays_zero_the_batch_that_came_in_stays_and_a_seed_decides(options: dict[str, float]) -> None:
    plain = batch()
    kept = plain.x.clone()
    one, _ = augment(plain, AugmentParams(**options), seeded())
    two, _ = augment(plain, AugmentParams(**options), seeded())
    other, _ = augment(plain, AugmentParams(**options), seeded(2))
    assert torch.equal(plain.x, kept)
    assert torch.equal(one.x, two.x)
    assert not torch.equal(one.x, plain.x)
    assert not torch.equal(one.x, other.x)
    assert (one.x[~plain.frame_mask] == 0).all()


@given(share=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_a_mask_hides_one_span_of_features_an_utterance_and_of_frames_a_chunk(share: float, seed: int) -> None:
    whole = Batch(torch.ones(4, 3, 10, 8), torch.ones(4, 3, 10, dtype=torch.bool), torch.ones(4, 3).bool(), {})
    x = augment(whole, AugmentParams(feature_mask=share), seeded(seed))[0].x
    hidden = (x == 0).all(dim=(1, 2))
    assert torch.equal(hidden, (x == 0).any(dim=(1, 2)))
    assert (hidden.sum(dim=1) <= share * 8).all()
    assert (hidden.int().diff(dim=1).abs().sum(dim=1) <= 2).all()
    x = augment(whole, AugmentParams(time_mask=share), seeded(seed))[0].x
    hidden = (x == 0).all(dim=3)
    assert torch.equal(hidden, (x == 0).any(dim=3))
    assert (hidden.sum(dim=2) <= share * 10).all()
    assert (hidden.int().diff(dim=2).abs().sum(dim=2) <= 2).all()


@given(st.integers(0, 99))
def test_mixing_keeps_at_least_half_of_each_and_says_what_was_mixed_in(seed: int) -> None:
    plain = batch()
    mixed, mix = augment(plain, AugmentParams(mixup=0.4), seeded(seed))
    assert mix is not None
    assert 0.5 <= mix.share <= 1
    order = mix.targets["emotion"]  # the targets of the toy batch are its rows
    assert sorted(order.tolist()) == list(range(6))
    both = plain.frame_mask & plain.frame_mask[order]
    expected = mix.share * plain.x + (1 - mix.share) * plain.x[order]
    torch.testing.assert_close(mixed.x[both], expected[both])
    torch.testing.assert_close(mixed.x[~both], plain.x[~both])
    assert torch.equal(mixed.targets["emotion"], plain.targets["emotion"])


def test_a_single_utterance_is_mixed_with_nothing() -> None:
    assert augment(batch(count=1), AugmentParams(mixup=0.4), seeded())[1] is None


@pytest.fixture
def train(
    make_shards: Callable[..., Path], tiny: Callable[..., Params], tmp_path: Path
) -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    def go(where: str, **options: object) -> tuple[pd.DataFrame, pd.DataFrame]:
        home = tmp_path / where
        params = tiny(finetune={"modes": ["scratch"], "folds": 2, **options})
        runs = finetune(
            make_shards("labelled", labelled_rows()), home, home / "models", home / "reports", params, cache=home / "c"
        )
        return runs, pd.read_csv(home / "reports" / "finetune_history.csv")

    return go


def test_training_with_everything_on_learns_and_repeats(
    train: Callable[..., tuple[pd.DataFrame, pd.DataFrame]], tmp_path: Path
) -> None:
    options = {
        "dev": "none",
        "monitor": "last",
        "lr_schedule": "one_cycle",
        "augment": {"mixup": 0.2, "noise": 0.1, "time_mask": 0.2, "feature_mask": 0.2},
        "epochs": 12,
    }
    runs, history = train("one", **options)
    again, _ = train("two", **options)
    pd.testing.assert_frame_equal(runs, again)
    assert runs["uar"].mean() > 0.5  # chance is a third
    assert (runs["n_dev"] == 0).all()
    assert (runs["n_train"] + runs["n_test"] == len(labelled_rows())).all()
    assert (runs["epochs"] == 12).all()
    assert history["dev_score"].isna().all()
    assert (tmp_path / "one" / "models" / "toy" / "scratch" / "model.safetensors").is_file()


def test_a_cycle_ends_at_nothing(train: Callable[..., tuple[pd.DataFrame, pd.DataFrame]]) -> None:
    _, constant = train("constant", monitor="last", epochs=20)
    _, cycle = train("cycle", monitor="last", epochs=20, lr_schedule="one_cycle")
    late = [history[history["epoch"] > 17].groupby(["fold", "seed"])["dev_loss"].std() for history in (constant, cycle)]
    assert np.all(late[1] < late[0])  # the last steps are too small to move anything


@pytest.mark.parametrize(
    ("section", "options", "message"),
    [
        ("finetune", {"monitor": "score"}, "monitor must be last, or dev speakers or fold"),
        ("pretrain", {"augment": {"mixup": 0.2}, "dense": ["energy"]}, "use it with tasks alone"),
        ("finetune", {"augment": {"speed": 1.1}}, "unknown key"),
    ],
)
def test_what_does_not_fit_together_is_refused(section: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_params({section: options})
