"""The ablation: which pretraining, on how much speech, helps with how many labels? One grid, one table, one picture.

Every cell of the grid is a pretraining and a fine-tuning like those of the commands ``pretrain`` and ``finetune``, with
other parameters; scratch is trained once and compared with all of them on the same folds, seeds and labels. Pretrained
models and fine-tuning runs are kept under a key of their content, so that a killed run goes on, a larger grid costs
what is new, and changed data, parameters or code never meet an old result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.finetuning.auxiliary import check_auxiliary, side_tasks
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.finetune import Context
from trainer.finetuning.parents import Parents
from trainer.finetuning.plan import Run, plan
from trainer.finetuning.pretrainings import Pretraining, Pretrainings
from trainer.params import AblationParams, Params
from trainer.recipes.ablation.grid import Cell, grid, task_names
from trainer.store import is_done


@dataclass(frozen=True)
class Leg:
    """Fine-tuning runs that share parameters and parent."""

    params: Params
    parents: Pretrainings | None
    runs: list[Run]


@dataclass
class Study:
    """What an ablation consists of on given shards, and where its finished pieces lie."""

    labelled: Shards
    unlabelled: Shards
    params: Params
    recipe: AblationParams
    cache: Path
    cells: list[Cell]
    pretrainings: dict[str, Pretraining] = field(default_factory=dict)
    _plans: dict[Any, list[Run]] = field(default_factory=dict)
    _parents: dict[Path, Parents] = field(default_factory=dict)

    @classmethod
    def of(
        cls, labelled: str | Path, unlabelled: str | Path, params: Params, recipe: AblationParams, *, cache: str | Path
    ) -> Study:
        """Open the shards and lay out the grid; raises InputError before anything is trained."""
        one, two = open_labelled(labelled, params.finetune, cache=cache), open_shards(unlabelled, cache=cache)
        study = cls(one, two, params, recipe, Path(cache), grid(params, recipe))
        for cell in study.cells:
            for _, seed in cell.legs:
                study.pretrainings |= study.pretraining(cell, seed).jobs
        study.check_pairs()
        return study

    @property
    def finished(self) -> Path:
        """Folder of finished fine-tuning runs."""
        return self.cache / "units"

    def pretraining(self, cell: Cell, seed: int) -> Pretrainings:
        """Return the pretraining of a cell with one seed, and those of its folds."""
        changed = cell.params.pretrain.model_copy(update={"seed": seed})
        params = cell.params.model_copy(update={"pretrain": changed})
        share = f"{100 * changed.unlabelled_fraction:g} % of the speech"
        name = f"pretraining {cell.variant}, tasks {task_names(changed.tasks)}, {share}, seed {seed}"
        return Pretrainings.of(self.labelled, self.unlabelled, params, self.cache, name=name)

    def legs(self, cell: Cell) -> list[Leg]:
        """Fine-tuning of a cell, a leg a parent."""
        result = []
        for params, seed in cell.legs:
            parents = self.pretraining(cell, seed)
            result.append(Leg(params, parents, self._plan(params, parents)))
        return result

    def scratch(self, cell: Cell) -> Leg:
        """Scratch runs of a cell; cells whose networks and training agree have equal runs."""
        return Leg(cell.scratch, None, self._plan(cell.scratch, None))

    def everything(self) -> list[Leg]:
        """All legs of all cells, scratch first; a run may be in several."""
        return [*(self.scratch(cell) for cell in self.cells), *(leg for cell in self.cells for leg in self.legs(cell))]

    def context(self, leg: Leg) -> Context:
        """Return what the leg's runs are trained with."""
        return Context(self.labelled, leg.params, self.finished, side_tasks(leg.params.finetune, self.unlabelled))

    def _plan(self, params: Params, wanted: Pretrainings | None) -> list[Run]:
        there = wanted is not None and all(one.done for one in wanted.jobs.values())
        # the place of a parent that is still to come counts too: its runs are not those of another
        settings = params.encoder.model_dump_json(), params.finetune.model_dump_json()
        key = (*settings, wanted and wanted.everyone.folder, there)
        if key not in self._plans:
            parents = self.parents(wanted) if wanted is not None else None
            if parents is not None:
                parents.check(self.labelled, params)
                if any(params.finetune.goes_on(mode) for mode in params.finetune.chosen):
                    check_auxiliary(parents, self.unlabelled, params.finetune.target)
            side = side_tasks(params.finetune, self.unlabelled)
            self._plans[key] = plan(self.labelled, params, parents, side=side)
        return self._plans[key]

    def parents(self, wanted: Pretrainings) -> Parents:
        """Return what runs start from; once trained, it is read once."""
        place = wanted.everyone.folder
        if place not in self._parents:
            found = wanted.parents(self.unlabelled)
            if not all(one.done for one in wanted.jobs.values()):
                return found
            self._parents[place] = found
        return self._parents[place]

    def check_pairs(self) -> None:
        """Refuse a verdict of too few pairs."""
        least = self.recipe.verdict.min_pairs
        for cell in (cell for cell in self.cells if cell.part == "verdict"):
            runs = self.scratch(cell).runs
            for corpus in sorted({run.corpus for run in runs}):
                pairs = sum(run.corpus == corpus for run in runs)
                seeds = len(cell.params.finetune.seeds)
                if pairs < least:
                    raise InputError(
                        f"corpus {corpus}: the verdict would have {pairs} pairs ({pairs // seeds} folds x {seeds} "
                        f"seeds), verdict.min_pairs of the ablation asks for {least}: name more verdict.seeds"
                    )

    def counts(self) -> Counts:
        """How many trainings there are, and how many are done."""
        pretrained = [pretraining.done for pretraining in self.pretrainings.values()]
        runs: dict[Any, bool] = {}
        for leg in self.everything():
            waits = leg.parents is not None and not all(one.done for one in leg.parents.jobs.values())
            for run in leg.runs:
                place = run.parent if waits else None
                runs[(place, run.key)] = not waits and is_done(self.finished, run.key)
        return Counts(len(pretrained), sum(pretrained), len(runs), sum(runs.values()), len(self.cells))


@dataclass(frozen=True)
class Counts:
    """Trainings of a study."""

    pretrainings: int
    pretrained: int
    runs: int
    finetuned: int
    cells: int

    @property
    def total(self) -> int:
        """All trainings."""
        return self.pretrainings + self.runs

    @property
    def done(self) -> int:
        """Trainings that are done already."""
        return self.pretrained + self.finetuned

    def __str__(self) -> str:
        return (
            f"{self.cells} comparisons with scratch: {self.pretrainings} pretrainings ({self.pretrained} done), "
            f"{self.runs} fine-tunings ({self.finetuned} done); {self.total - self.done} trainings to do"
        )
