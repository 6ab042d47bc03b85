"""What an ablation compares: the cells of its grid, each a complete set of parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import InputError
from trainer.params import AblationParams, Params
from trainer.params.changes import with_changes, with_variant


@dataclass(frozen=True)
class Cell:
    """One row of the table a corpus: what was pretrained on, and how it was used."""

    part: str  # ablation | verdict
    variant: str
    mode: str  # pretrained | frozen
    params: Params  # of pretraining and fine-tuning; their seeds are all those of the cell
    pretrain_seeds: tuple[int, ...]

    @property
    def legs(self) -> Iterator[tuple[Params, int]]:
        """Parameters of the fine-tuning runs with one parent, and the parent's seed.

        The fine-tuning seeds take the pretraining seeds in turn, so that the spread over pairs holds both.
        """
        seeds, count = self.params.finetune.seeds, len(self.pretrain_seeds)
        for position, parent in enumerate(self.pretrain_seeds):
            if seeds[position::count]:
                yield _finetuning(self.params, modes=(self.mode,), seeds=seeds[position::count]), parent

    @property
    def scratch(self) -> Params:
        """Parameters of the scratch runs that the cell is compared with."""
        return _finetuning(self.params, modes=("scratch",))


def grid(params: Params, recipe: AblationParams) -> list[Cell]:
    """All cells, in the order of the table.

    A variant is tried with its own tasks, and with those of ``recipe.tasks`` that are a part of them. Unless
    ``recipe.cross``, smaller amounts of unlabelled speech are tried with the variant's own tasks alone.

    Raises:
        InputError: a variant is unknown or wrong, or the ablation uses a seed of the verdict too.
    """
    cells = []
    for name in dict.fromkeys(recipe.variants):
        base = with_variant(params, name)
        own = base.pretrain.tasks
        subsets = tuple(subset for subset in recipe.tasks if set(subset) < set(own))
        most = max(recipe.unlabelled_fractions)
        pairs = {(subset, most): None for subset in subsets}
        pairs |= {(own, share): None for share in recipe.unlabelled_fractions}
        if recipe.cross:
            pairs |= {(subset, share): None for share in recipe.unlabelled_fractions for subset in subsets}
        for tasks, share in pairs:
            pretraining = {"pretrain.tasks": list(tasks)} if tasks != own else {}
            changed = with_changes(base, pretraining, where=f"variants.{name}")
            for mode in recipe.modes:
                for fraction in recipe.label_fractions:
                    amounts = _amounts(changed, fraction, share)
                    cells.append(Cell("ablation", name, mode, amounts, recipe.pretrain_seeds))
    return cells + (_verdict(params, recipe) if recipe.verdict.run else [])


def _verdict(params: Params, recipe: AblationParams) -> list[Cell]:
    options = recipe.verdict
    used = sorted(set(options.seeds) & set(params.finetune.seeds))
    if used:
        raise InputError(
            f"ablation: verdict.seeds {used} are among finetune.seeds: a verdict needs seeds that no choice was made on"
        )
    cells = []
    for name in dict.fromkeys(recipe.variants):
        for mode in options.modes:
            for fraction in options.label_fractions:
                changed = _finetuning(_amounts(with_variant(params, name), fraction, 1.0), seeds=options.seeds)
                if options.folds != "same":
                    changed = _finetuning(changed, folds=options.folds)
                cells.append(Cell("verdict", name, mode, changed, options.pretrain_seeds))
    return cells


def _amounts(params: Params, labels: float, unlabelled: float) -> Params:
    changed = params.pretrain.model_copy(update={"unlabelled_fraction": unlabelled})
    return _finetuning(params.model_copy(update={"pretrain": changed}), label_fraction=labels)


def _finetuning(params: Params, **update: Any) -> Params:
    return params.model_copy(update={"finetune": params.finetune.model_copy(update=update)})


def task_names(tasks: Sequence[int]) -> str:
    """Name a set of tasks; a dash for a variant without segment labels.

    >>> task_names((1, 3)), task_names(())
    ('1+3', '-')
    """
    return "+".join(map(str, tasks)) or "-"
