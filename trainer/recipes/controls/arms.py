"""The arms of the controls: what each of them trains, and what it starts from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.shards import Shards, has_shards, open_shards
from trainer.errors import Notice
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.finetune import Context
from trainer.finetuning.parents import Parent, Parents
from trainer.finetuning.plan import Run, plan, plan_final
from trainer.finetuning.pretrainings import Pretraining, Pretrainings
from trainer.finetuning.students import STUDENT
from trainer.params import FROM_PARENT, ArmParams, ControlsParams, Params
from trainer.params.changes import changes, with_changes, with_variant
from trainer.store import is_done

SCRATCH = "scratch"  # the arm that all others are compared with


@dataclass(frozen=True)
class Leg:
    """Runs of an arm that share parameters and parents."""

    arm: str
    params: Params  # finetune.label_fraction among them
    pretrainings: Pretrainings | None = None  # what they start from: films
    teachers: tuple[Run, ...] = ()  # or true labels, as trainings of their own
    corpora: tuple[str, ...] = ()  # only these are trained and tested; empty: all

    @property
    def of_others(self) -> bool:
        """Whether it is trained on the faces of other segments, utterances or times."""
        options = self.params.finetune
        by_student = STUDENT in options.chosen and options.self_training.faces != "own"
        return by_student or (self.pretrainings is not None and self.params.pretrain.faces != "own")


@dataclass
class Controls:
    """What is trained on given shards, and where its finished pieces lie."""

    labelled: Shards
    films: Shards | None  # None: no arm starts from films, and there are none
    params: Params
    recipe: ControlsParams
    cache: Path
    legs: list[Leg] = field(default_factory=list)
    left_out: dict[str, None] = field(default_factory=dict)  # arms whose teacher, another corpus, is not there

    @classmethod
    def of(
        cls, labelled: str | Path, films: str | Path, params: Params, recipe: ControlsParams, *, cache: str | Path
    ) -> Controls:
        """Open the shards and lay out all arms.

        Raises:
            InputError: an arm is wrong, or what `plan` refuses.
        """
        arms = {SCRATCH: ArmParams(mode="scratch"), **recipe.arms}
        looks = any(_looks(_changed(params, name, arm), arm) for name, arm in arms.items())
        shown = open_shards(films, cache=cache) if looks or has_shards(films) else None
        study = cls(open_labelled(labelled, params.finetune, cache=cache), shown, params, recipe, Path(cache))
        for name, arm in arms.items():
            study.legs += study._legs(name, arm)
        if study.left_out:
            names = ", ".join(study.left_out)
            message = f"left out: {names}. The labelled shards hold one corpus, so that no other one can teach it"
            warnings.warn(message, Notice, stacklevel=2)
        return study

    @property
    def finished(self) -> Path:
        """Folder of finished fine-tuning runs."""
        return self.cache / "units"

    @property
    def pretrainings(self) -> dict[str, Pretraining]:
        """All pretrainings on films, by key."""
        found: dict[str, Pretraining] = {}
        for leg in self.legs:
            if leg.pretrainings is not None:
                found |= leg.pretrainings.jobs
        return found

    @property
    def arms(self) -> list[str]:
        """Names of the arms that have runs, in order."""
        return list(dict.fromkeys(leg.arm for leg in self.legs))

    def context(self, leg: Leg) -> Context:
        """Return what the leg's runs, and their teachers, are trained with."""
        return Context(self.labelled, leg.params, self.finished, {}, self.films)

    def runs(self, leg: Leg) -> list[Run]:
        """Return the runs of a leg; their keys are those of stored runs once what they start from is trained."""
        return plan(self.labelled, leg.params, self._parents(leg), films=self.films, corpora=leg.corpora)

    def _legs(self, name: str, arm: ArmParams) -> list[Leg]:
        base = _changed(self.params, name, arm)
        seeds, count = self.recipe.seeds[: arm.seeds], len(self.recipe.pretrain_seeds)
        legs = []
        for position, seed in enumerate(self.recipe.pretrain_seeds):
            own = seeds[position::count] if arm.mode in FROM_PARENT else seeds if position == 0 else ()
            if not own:
                continue
            for share in self.recipe.label_fractions:
                tuning = {"modes": (arm.mode,), "seeds": own, "label_fraction": share, "final": False}
                params = _with(_with(base, "finetune", **tuning), "pretrain", seed=seed)
                legs += self._starts(name, arm, params, seed)
        return legs

    def _starts(self, name: str, arm: ArmParams, params: Params, seed: int) -> list[Leg]:
        """Give a leg what it starts from; by labels of another corpus there is a leg for each that can teach."""
        if arm.mode not in FROM_PARENT:
            return [Leg(name, params)]
        if arm.parent == "films" and self.films is not None:
            made = Pretrainings.of(
                self.labelled, self.films, params, self.cache, name=f"pretraining {name}, seed {seed}"
            )
            return [Leg(name, params, made)]
        full = _with(params, "finetune", modes=("scratch",), seeds=(seed,), label_fraction=1.0)
        if arm.parent == "labels":
            return [Leg(name, params, teachers=tuple(plan(self.labelled, full, None)))]
        # of the others the one with most labels teaches each corpus
        teachers = {run.corpus: run for run in plan_final(self.labelled, full, None, mode="scratch")}
        order = sorted(teachers, key=lambda corpus: (-len(teachers[corpus].train), corpus))
        if len(order) < 2:
            self.left_out[name] = None
            return []
        return [
            Leg(name, params, teachers=(teachers[order[0]],), corpora=tuple(order[1:])),
            Leg(name, params, teachers=(teachers[order[1]],), corpora=(order[0],)),
        ]

    def _parents(self, leg: Leg) -> Parents | None:
        if leg.pretrainings is not None and self.films is not None:
            return leg.pretrainings.parents(self.films)
        if not leg.teachers:
            return None
        found = {(run.corpus, run.fold): self._taught(run) for run in leg.teachers}
        return Parents(next(iter(found.values())), found)  # of another corpus the first, which is the only one

    def _taught(self, run: Run) -> Parent:
        folder = self.finished / run.key
        if is_done(self.finished, run.key):
            return Parent.read(folder)
        return Parent(folder, frozenset(self.labelled.speakers[np.concatenate([run.train, run.dev])]))


def _changed(params: Params, name: str, arm: ArmParams) -> Params:
    """Return the parameters as an arm has them."""
    base = with_variant(params, arm.variant) if arm.variant else params
    return with_changes(base, changes(arm.changes), where=f"arms.{name}")


def _looks(params: Params, arm: ArmParams) -> bool:
    """Return whether an arm needs films: it starts from them, or their faces are among its teachers."""
    if arm.mode == STUDENT:
        return params.finetune.self_training.face > 0
    return arm.mode in FROM_PARENT and arm.parent == "films"


def _with(params: Params, section: str, **update: Any) -> Params:
    changed = getattr(params, section).model_copy(update=update)
    return params.model_copy(update={section: changed})
