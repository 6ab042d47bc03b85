"""What an ablation compares: the cells of its grid, each a complete set of parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import InputError
from trainer.params import Params
from trainer.params.changes import with_changes, with_recipe


@dataclass(frozen=True)
class Cell:
    """One row of the table a corpus: what was pretrained on, and how it was used."""

    part: str  # ablation | verdict
    recipe: str
    mode: str  # pretrained | frozen
    params: Params  # of pretraining and fine-tuning; their seeds are all those of the cell
    pretrain_seeds: tuple[int, ...]

    @property
    def legs(self) -> Iterator[tuple[Params, int]]:
        """Parameters of each fine-tuning run with one parent, and the parent's seed.

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


def grid(params: Params) -> list[Cell]:
    """All cells, in the order of the table.

    A recipe is tried with its own tasks, and with those of ``ablation.tasks`` that are a part of them. Unless
    ``ablation.cross``, smaller amounts of unlabelled speech are tried with the recipe's own tasks alone. Raises
    InputError for a recipe that is unknown or wrong, and for verdict seeds that the ablation uses too.
    """
    options = params.ablation
    cells = []
    for name in dict.fromkeys(options.recipes):
        base = with_recipe(params, name)
        own = base.pretrain.tasks
        subsets = tuple(subset for subset in options.tasks if set(subset) < set(own))
        most = max(options.unlabelled_fractions)
        pairs = {(subset, most): None for subset in subsets}
        pairs |= {(subset, share): None for share in options.unlabelled_fractions for subset in (own,)}
        if options.cross:
            pairs |= {(subset, share): None for share in options.unlabelled_fractions for subset in subsets}
        for tasks, share in pairs:
            pretraining = {"pretrain.tasks": list(tasks)} if tasks != own else {}
            changed = with_changes(base, pretraining, where=f"recipes.{name}")
            for mode in options.modes:
                for fraction in options.label_fractions:
                    cells.append(
                        Cell("ablation", name, mode, _amounts(changed, fraction, share), options.pretrain_seeds)
                    )
    return cells + (_verdict(params) if options.verdict.run else [])


def _verdict(params: Params) -> list[Cell]:
    options = params.ablation.verdict
    used = sorted(set(options.seeds) & set(params.finetune.seeds))
    if used:
        raise InputError(
            f"ablation.verdict.seeds {used} are among finetune.seeds: a verdict needs seeds that no choice was made on"
        )
    cells = []
    for name in dict.fromkeys(params.ablation.recipes):
        for mode in options.modes:
            for fraction in options.label_fractions:
                changed = _finetuning(_amounts(with_recipe(params, name), fraction, 1.0), seeds=options.seeds)
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
    """Name a set of tasks; a dash for a recipe without segment labels.

    >>> task_names((1, 3)), task_names(())
    ('1+3', '-')
    """
    return "+".join(map(str, tasks)) or "-"
