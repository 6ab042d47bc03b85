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

from trainer.data.rows import text
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.finetuning.auxiliary import check_auxiliary, side_tasks
from trainer.finetuning.finetune import Context
from trainer.finetuning.plan import Run, check_parent, plan
from trainer.models.checkpoint import Checkpoint, load_model
from trainer.params import AblationParams, Params
from trainer.recipes.ablation.grid import Cell, grid, task_names
from trainer.store import code_fingerprint, content_key, is_done, package_versions


@dataclass(frozen=True)
class Pretraining:
    """One pretrained model: its parameters and the folder, named by a key of its content, where it lies."""

    name: str
    params: Params
    folder: Path

    @property
    def done(self) -> bool:
        """Folders appear as a whole."""
        return is_done(self.folder.parent, self.folder.name)


@dataclass(frozen=True)
class Leg:
    """Fine-tuning runs that share parameters and parent."""

    params: Params
    parent: Pretraining | None
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
    _loaded: dict[Path, Checkpoint] = field(default_factory=dict)

    @classmethod
    def of(
        cls, labelled: str | Path, unlabelled: str | Path, params: Params, recipe: AblationParams, *, cache: str | Path
    ) -> Study:
        """Open the shards and lay out the grid; raises InputError before anything is trained."""
        one, two = (open_shards(folder, cache=cache) for folder in (labelled, unlabelled))
        study = cls(one, two, params, recipe, Path(cache), grid(params, recipe))
        for cell in study.cells:
            for _, seed in cell.legs:
                pretraining = study.pretraining(cell, seed)
                study.pretrainings[pretraining.folder.name] = pretraining
        study.check_pairs()
        return study

    @property
    def finished(self) -> Path:
        """Folder of finished fine-tuning runs."""
        return self.cache / "units"

    def pretraining(self, cell: Cell, seed: int) -> Pretraining:
        """Return the pretraining of a cell with one seed."""
        changed = cell.params.pretrain.model_copy(update={"seed": seed})
        params = cell.params.model_copy(update={"pretrain": changed})
        identity = {
            "shards": self.unlabelled.fingerprint,
            **params.model_dump(mode="json", include={"trainer", "encoder", "pretrain"}),
            "code": code_fingerprint(),
            "packages": package_versions(),
        }
        key = content_key(identity)
        share = f"{100 * changed.unlabelled_fraction:g} % of the speech"
        name = f"pretraining {cell.variant}, tasks {task_names(changed.tasks)}, {share}, seed {seed}"
        return Pretraining(name, params, self.cache / "pretrained" / key)

    def legs(self, cell: Cell) -> list[Leg]:
        """Fine-tuning of a cell, a leg a parent."""
        result = []
        for params, seed in cell.legs:
            parent = self.pretraining(cell, seed)
            result.append(Leg(params, parent, self._plan(params, parent)))
        return result

    def scratch(self, cell: Cell) -> Leg:
        """Scratch runs of a cell; cells whose networks and training agree have equal runs."""
        return Leg(cell.scratch, None, self._plan(cell.scratch, None))

    def everything(self) -> list[Leg]:
        """All legs of all cells, scratch first; a run may be in several."""
        return [*(self.scratch(cell) for cell in self.cells), *(leg for cell in self.cells for leg in self.legs(cell))]

    def loaded(self, parent: Pretraining) -> Checkpoint:
        """Read a pretrained model back, once."""
        if parent.folder not in self._loaded:
            self._loaded[parent.folder] = load_model(parent.folder)
        return self._loaded[parent.folder]

    def context(self, leg: Leg) -> Context:
        """Return what the leg's runs are trained with."""
        folder = leg.parent.folder if leg.parent is not None else None
        return Context(
            self.labelled, leg.params, folder, self.finished, side_tasks(leg.params.finetune, self.unlabelled)
        )

    def _plan(self, params: Params, parent: Pretraining | None) -> list[Run]:
        there = parent is not None and parent.done
        # the place of a parent that is still to come counts too: its runs are not those of another
        key = (params.encoder, params.finetune, parent and parent.folder, there)
        if key not in self._plans:
            loaded = self.loaded(parent) if parent is not None and there else None
            if parent is not None and loaded is not None:
                check_parent(loaded, self.labelled, params, parent.folder)
                if any(params.finetune.goes_on(mode) for mode in params.finetune.modes):
                    check_auxiliary(loaded, self.unlabelled, params.finetune.target)
            expected = self._pretraining_speakers if parent is not None else set()
            side = side_tasks(params.finetune, self.unlabelled)
            self._plans[key] = plan(self.labelled, params, loaded, side=side, expected_speakers=expected)
        return self._plans[key]

    @property
    def _pretraining_speakers(self) -> set[str]:
        """Speakers that pretraining may use: all but those of a given test split."""
        return set(self.unlabelled.speakers[text(self.unlabelled.rows, "split") != "test"])

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
            waits = leg.parent is not None and not leg.parent.done
            for run in leg.runs:
                place = leg.parent.folder if leg.parent is not None and waits else None
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
