"""All pretrainings of a comparison: the one on all films, and one a fold that tests somebody whom the films show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.parents import FOLDS, INDEX, FoldName, Parent, Parents, heard_speakers, left_out
from trainer.params import Params
from trainer.pretraining.pretrain import pretrain
from trainer.store import (
    code_fingerprint,
    content_key,
    free_place,
    is_done,
    package_versions,
    replace_folder,
    seal,
    slug,
    write_json,
)
from trainer.training.jobs import train_missing


@dataclass(frozen=True)
class Pretraining:
    """One pretrained model: parameters, who is left out, and the folder, named by a key of its content."""

    name: str  # in a progress line
    params: Params
    without: tuple[str, ...]
    folder: Path

    @classmethod
    def of(cls, films: Shards, params: Params, cache: Path, *, name: str, without: Collection[str] = ()) -> Pretraining:
        """Name the pretraining on ``films``; equal ones have one folder."""
        identity = {
            "shards": films.fingerprint,
            **params.model_dump(mode="json", include={"trainer": True, "encoder": True}),
            "pretrain": params.pretrain.model_dump(mode="json", exclude={"per_fold"}),
            "without": sorted(without),
            "code": code_fingerprint(),
            "packages": package_versions(),
        }
        return cls(name, params, tuple(sorted(without)), cache / "pretrained" / content_key(identity))

    @property
    def done(self) -> bool:
        """Folders appear as a whole."""
        return is_done(self.folder.parent, self.folder.name)

    @property
    def metrics(self) -> dict[str, Any]:
        """Measures on held-out speakers, once it is done."""
        metrics: dict[str, Any] = json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        return metrics

    def parent(self, films: Shards) -> Parent:
        """Return it as what runs start from, trained or not."""
        if self.done:
            return Parent.read(self.folder)
        return Parent(self.folder, heard_speakers(films, self.params.pretrain) - set(self.without))


@dataclass(frozen=True)
class Pretrainings:
    """Those that one set of parameters needs."""

    everyone: Pretraining
    folds: dict[FoldName, Pretraining]

    @classmethod
    def of(cls, labelled: Shards | None, films: Shards, params: Params, cache: Path, *, name: str) -> Pretrainings:
        """Lay them out; without ``labelled`` shards there is the one on all films.

        Raises:
            InputError: there are no labels, or no folds can be made.
        """
        everyone = Pretraining.of(films, params, cache, name=name)
        needs = {} if labelled is None else left_out(labelled, films, params.finetune, params.pretrain)
        folds = {
            (corpus, fold): Pretraining.of(films, params, cache, name=f"{name}, {corpus} {fold}", without=without)
            for (corpus, fold), without in needs.items()
        }
        return cls(everyone, folds)

    @property
    def jobs(self) -> dict[str, Pretraining]:
        """All of them, by key."""
        return {one.folder.name: one for one in (self.everyone, *self.folds.values())}

    def parents(self, films: Shards) -> Parents:
        """Return them as what runs start from, trained or not."""
        return Parents(self.everyone.parent(films), {name: one.parent(films) for name, one in self.folds.items()})

    def write(self, out: Path) -> None:
        """Copy the finished models to ``out``: the one on all films, and below it those of folds with an index."""

        def fill(work: Path) -> None:
            shutil.copytree(self.everyone.folder, work, dirs_exist_ok=True)
            index = []
            for (corpus, fold), one in self.folds.items():
                place = free_place(work / FOLDS / slug(corpus) / slug(fold))
                shutil.copytree(one.folder, place)
                folder = place.relative_to(work / FOLDS).as_posix()
                index.append({"folder": folder, "corpus": corpus, "fold": fold, "without": list(one.without)})
            if index:
                write_json(work / FOLDS / INDEX, index)
            seal(work)

        replace_folder(out, fill)


def pretrain_all(
    films: str | Path,
    out: str | Path,
    params: Params,
    *,
    labelled: str | Path | None = None,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int], None] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Pretrainings:
    """Pretrain on all films and, where they show speakers of ``labelled``, once a fold without those whom it tests.

    Every model is stored under a key of its content: a killed command goes on, a repeated one costs nothing.

    Args:
        films: unlabelled shards.
        out: model folder; those of folds lie in ``folds`` below it.
        params: sections trainer, encoder, pretrain and finetune (for its folds) count.
        labelled: labelled shards; None: no folds.
        cache: folder of finished models and memory maps.
        workers: processes.
        on_start: called with the number of steps: epochs if models are trained one after the other, else models.
        on_step: called with the name of the model at every step.

    Raises:
        InputError: a task has less than two classes, a given split leaks, or no folds can be made.
    """
    cache = Path(cache)
    opened = open_shards(films, cache=cache)
    targets = open_labelled(labelled, params.finetune, cache=cache) if labelled is not None else None
    needed = Pretrainings.of(targets, opened, params, cache, name="pretraining")
    jobs = {key: one for key, one in needed.jobs.items() if not one.done}
    by_epochs = (workers <= 1 or len(jobs) == 1) and params.pretrain.steps is None
    if on_start is not None:
        on_start(len(jobs) * (params.pretrain.epochs if by_epochs else 1))
    done = None if on_step is None or by_epochs else lambda one: on_step(one.name)
    work = partial(pretrain_one, on_epoch=on_step) if by_epochs else pretrain_one
    train_missing(jobs, lambda key: jobs[key].done, work, (Path(films), cache), workers=workers, on_done=done)
    needed.write(Path(out))
    return needed


def pretrain_one(shared: tuple[Path, Path], job: Pretraining, *, on_epoch: Callable[[str], None] | None = None) -> None:
    """Train and store one; ``shared``: the folder of the films and the cache. ``on_epoch`` gets its name."""
    films, cache = shared
    step = None if on_epoch is None else lambda _epoch: on_epoch(job.name)
    try:
        pretrain(films, job.folder, job.params, without=job.without, cache=cache, on_epoch=step)
    except InputError as error:
        raise InputError(f"{job.name}: {error}") from None
