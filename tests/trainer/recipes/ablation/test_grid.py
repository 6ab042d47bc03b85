"""What the grid of an ablation holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.trainer.recipes.ablation.conftest import Settings
from trainer.errors import InputError
from trainer.recipes.ablation.grid import grid


def _cells(settings: Settings) -> list[tuple[Any, ...]]:
    return [
        (
            *(cell.part, cell.variant, "".join(map(str, cell.params.pretrain.tasks)), cell.mode),
            *(cell.params.finetune.label_fraction, cell.params.pretrain.unlabelled_fraction),
        )
        for cell in grid(*settings)
    ]


def test_the_grid_varies_the_amount_of_speech_with_the_variants_own_tasks(study: Callable[..., Any]) -> None:
    varied = {"tasks": [[1], [2, 1]], "unlabelled_fractions": [0.5, 1.0], "label_fractions": [0.5]}
    cells = _cells(study.settings(**varied))
    assert cells == [
        ("ablation", "paper", tasks, "pretrained", 0.5, share)
        for tasks, share in (("1", 1.0), ("12", 1.0), ("123", 0.5), ("123", 1.0))
    ]
    crossed = _cells(study.settings(**varied, cross=True))
    assert set(cells) < set(crossed)
    assert {(cell[2], cell[5]) for cell in crossed} == {(t, s) for t in ("1", "12", "123") for s in (0.5, 1.0)}


def test_a_variant_is_tried_with_parts_of_its_own_tasks(study: Callable[..., Any]) -> None:
    own = {"two": {"pretrain.tasks": [1, 2]}, "none": {"pretrain": {"tasks": [], "dense": ["energy"]}}}
    cells = _cells(study.settings(variants=own, tasks=[[1], [3], [2, 3]], modes=["pretrained", "frozen"]))
    found = {name: [cell[2:4] for cell in cells if cell[1] == name] for name in ("paper", *own)}
    modes = ("pretrained", "frozen")
    assert found["paper"] == [(tasks, mode) for tasks in ("1", "3", "23", "123") for mode in modes]
    assert found["two"] == [(tasks, mode) for tasks in ("1", "12") for mode in modes]
    assert found["none"] == [("", mode) for mode in modes]


def test_every_combination_of_the_grid_is_there_once(study: Callable[..., Any]) -> None:
    subsets = [[1], [2], [3], [1, 2], [1, 3], [2, 3], [1, 2, 3]]
    shares = {"label_fractions": [0.1, 0.25, 0.5, 1.0], "unlabelled_fractions": [0.25, 0.5, 1.0]}
    cells = _cells(study.settings(tasks=subsets, modes=["pretrained", "frozen"], cross=True, **shares))
    assert len(cells) == len(set(cells)) == 7 * 2 * 4 * 3


def test_the_verdict_takes_fresh_seeds_and_every_variant_once(study: Callable[..., Any]) -> None:
    fresh = {"run": True, "seeds": [7, 8, 9], "pretrain_seeds": [5, 6], "label_fractions": [0.25, 1.0]}
    params = study.settings(variants={"slow": {"pretrain.lr": 0.001}}, tasks=[[1], [2]], verdict=fresh)
    cells = [cell for cell in grid(*params) if cell.part == "verdict"]
    assert [(cell.variant, cell.params.finetune.label_fraction) for cell in cells] == [
        (name, share) for name in ("paper", "slow") for share in (0.25, 1.0)
    ]
    assert {cell.params.pretrain.tasks for cell in cells} == {(1, 2, 3)}
    legs = [(legs.finetune.seeds, parent) for legs, parent in cells[0].legs]
    assert legs == [((7, 9), 5), ((8,), 6)]  # pretraining seeds in turn
    with pytest.raises(InputError, match=r"verdict\.seeds \[0\] are among finetune\.seeds"):
        grid(*study.settings(verdict={"run": True, "seeds": [0, 1]}))
