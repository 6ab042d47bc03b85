"""Fine-tuning: the same folds and seeds from scratch, from the pretrained encoder, and (optionally) frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.data.chunking import chunking_for
from trainer.data.normalisation import Normalisation
from trainer.data.rows import Target
from trainer.data.shards import Shards
from trainer.errors import InputError
from trainer.finetuning.auxiliary import check_auxiliary, side_tasks
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.collect import collect
from trainer.finetuning.decide import with_films
from trainer.finetuning.parents import Parents
from trainer.finetuning.plan import PLAIN, Run, Sides, plan
from trainer.finetuning.side_task import SideTask
from trainer.finetuning.students import ENSEMBLE, STUDENT, StudentData, store_ensemble, student_data
from trainer.models.checkpoint import Checkpoint, ModelSpec, load_model, save_model
from trainer.objectives import Objective
from trainer.objectives.penalty import penalise
from trainer.params import Params
from trainer.store import is_done
from trainer.training.jobs import train_missing
from trainer.training.loop import fit, make_deterministic, measure, run_network


@dataclass(frozen=True)
class Context:
    """What all runs share; small enough to send to worker processes."""

    shards: Shards
    params: Params
    finished: Path  # folder of finished runs
    side: Sides = field(default_factory=dict)
    films: Shards | None = None  # for a teacher that looks

    def side_task(self, run: Run) -> SideTask:
        """Return what a run trains beside the target; raises ValueError unless its key names the same."""
        task = self.side.get(run.mode, PLAIN)
        if task.identity() != run.side:
            raise ValueError(f"mode {run.mode} was planned with another side task: {run.side}, not {task.identity()}")
        return task


def finetune(
    shards_folder: str | Path,
    parent: str | Path,
    out: str | Path,
    reports: str | Path,
    params: Params,
    *,
    unlabelled: str | Path | None = None,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int, int], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train every missing run, then write checkpoints and tables.

    Every run trains on its own seed and is stored under a key of its content: a killed command resumes, a repeated one
    costs nothing, and the number of ``workers`` (processes) changes no number.

    Args:
        shards_folder: labelled shards.
        parent: checkpoint of pretraining, with those of folds where it has some (not needed for mode scratch alone).
        out: gets the kept checkpoints with an index.json.
        reports: gets finetune_runs (.parquet, .csv), predictions.parquet and finetune_history.csv.
        params: sections trainer, encoder and finetune count.
        unlabelled: the shards of pretraining, opened only for ``finetune.auxiliary`` and for a teacher that looks
            (``finetune.self_training.face``).
        cache: folder of finished runs and memory maps.
        workers: processes.
        on_start: called with the number of runs and of those already done.
        on_run: called with the name of every finished run.

    Returns:
        The rows of ``finetune_runs``.

    Raises:
        InputError: a split leaks, a pretraining speaker is in a test fold, or the parent does not fit.
    """
    shards = open_labelled(shards_folder, params.finetune, cache=cache)
    params, others = with_films(params, shards, unlabelled, cache=cache)
    options = params.finetune
    parents = Parents.read(parent) if options.needs_parent else None
    if parents is not None:
        parents.check(shards, params)
    side = side_tasks(options, others)
    if parents is not None and others is not None and any(map(options.goes_on, options.chosen)):
        check_auxiliary(parents, others, options.target)
    return train_runs(
        Context(shards, params, Path(cache) / "units", side, others),
        plan(shards, params, parents, side=side, films=others),
        out=Path(out),
        reports=Path(reports),
        workers=workers,
        on_start=on_start,
        on_run=on_run,
    )


def train_runs(
    context: Context,
    runs: list[Run],
    *,
    out: Path,
    reports: Path,
    workers: int,
    on_start: Callable[[int, int], None] | None,
    on_run: Callable[[str], None] | None,
) -> pd.DataFrame:
    """Train those of ``runs`` that are not finished, then write checkpoints and tables of all; see `finetune`."""
    progress = None if on_run is None else lambda job: on_run(str(job[1]))
    train_all([context], [runs], workers=workers, on_start=on_start, on_done=progress)
    return collect(runs, context.finished, context.shards, context.params.finetune, out=out, reports=reports)


def train_all(
    contexts: Sequence[Context],
    runs: Sequence[Sequence[Run]],
    *,
    workers: int,
    on_start: Callable[[int, int], None] | None = None,
    on_done: Callable[[tuple[int, Run]], None] | None = None,
) -> None:
    """Train the unfinished runs of each context, which share one folder; one that several contexts share only once.

    Students wait for their teachers. ``on_done`` is called with the number of the context and the run.
    """
    jobs: dict[str, tuple[int, Run]] = {}
    needs: dict[str, list[str]] = {}
    for number, own in enumerate(runs):
        for run in own:
            jobs.setdefault(run.key, (number, run))
            needs[run.key] = [teacher.key for teacher in run.teachers]
            for teacher in run.teachers:
                jobs.setdefault(teacher.key, (number, teacher))
    done = partial(is_done, contexts[0].finished)
    train_missing(jobs, done, _train_job, contexts, workers=workers, needs=needs, on_start=on_start, on_done=on_done)


def _train_job(contexts: Sequence[Context], job: tuple[int, Run]) -> None:
    number, run = job
    try:
        train_run(contexts[number], run)
    except InputError as error:
        raise InputError(f"{run}: {error}") from None


def train_run(context: Context, run: Run) -> None:
    """Train and test one run; its folder under ``context.finished`` appears only when it is complete."""
    if run.mode == ENSEMBLE:
        store_ensemble(run, context.shards, context.params.finetune.target, finished=context.finished)
        return
    shards, params = context.shards, context.params
    options, device = params.finetune, params.trainer.device
    parent = load_model(run.parent) if run.parent is not None else None
    side = context.side_task(run).start(parent)
    labels = run.objective.encode(shards.rows, options.target)
    objective = run.objective.fitted(labels[run.train])
    student = _student_data(context, run, objective, labels) if run.mode == STUDENT else None
    learnt = run.train if student is None else student.rows
    spec = ModelSpec(
        kind="finetune",
        encoder=params.encoder,
        head_hidden=options.head_hidden,
        heads={options.target: objective, **side.heads},
        feature_names=shards.feature_names,
        frame_period=shards.frame_period,
        chunking=chunking_for(shards, learnt, params.encoder),
        normalisation=_normalisation(context, run, learnt, parent),
        frames=side.frames,
    )
    train, dev, test = (
        spec.dataset(shards, rows, {options.target: own, **side.targets(len(rows))})
        for rows, own in (
            (learnt, labels[run.train] if student is None else student.targets),
            (run.dev, labels[run.dev]),
            (run.test, labels[run.test]),
        )
    )
    make_deterministic(params.trainer, seed=run.seed)
    network = spec.build()
    if parent is not None:
        network.encoder.carry_over(parent.network.encoder, part=options.transfer)
    side.carry_over(network)
    own_loss = objective.loss(
        labels[run.train], label_smoothing=options.label_smoothing, balanced=options.class_weights == "balanced"
    )
    own_loss = penalise(own_loss, shards.rows.iloc[run.votes], objective.names, options.penalty)
    loss = side.loss(options.target, own_loss if student is None else student.loss)
    fitted = fit(
        network,
        train,
        dev if len(dev) else None,
        heads=spec.heads,
        loss=loss,
        schedule=options,
        seed=run.seed,
        device=device,
        freeze=network.encoder.carried(options.transfer) if run.mode == "frozen" else (),
        each_epoch=side.each_epoch(train, spec, loss, seed=run.seed, device=device),
    )
    outputs = run_network(network, test, batch_size=256, device=device) if len(test) else None
    metrics = {
        **run.identity,
        "classes": list(objective.names),
        "n_train": len(run.train),
        "n_dev": len(dev),
        "n_test": len(test),
        **({} if outputs is None else measure(outputs, test, spec.heads)[options.target]),
        "dev_score": fitted.best_score,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "updates": fitted.updates,
        **side.about(fitted.history, tested=set(shards.speakers[run.test])),
        **({} if student is None else {"self_training": str(options.self_training), **student.about}),
    }
    nothing = np.zeros((0, len(objective.names)), np.float32)  # a final model has nobody left to test
    predicted = nothing if outputs is None else objective.predict(outputs.logits[options.target])
    save_model(
        context.finished / run.key,
        network,
        spec=spec,
        provenance=_provenance(context, run, parent, side),
        metrics=metrics,
        history=fitted.history,
        extra=lambda folder: np.save(folder / "predictions.npy", predicted),
    )


def _student_data(context: Context, run: Run, objective: Objective, labels: Target) -> StudentData:
    """What a student learns from."""
    options, device = context.params.finetune.self_training, context.params.trainer.device
    finished = context.finished
    make_deterministic(context.params.trainer, seed=run.seed)
    return student_data(
        context.shards, context.films, run, objective, labels, finished=finished, options=options, device=device
    )


def _normalisation(context: Context, run: Run, learnt: IntArray, parent: Checkpoint | None) -> Normalisation:
    options = context.params.finetune
    if parent is not None and options.normalisation == "parent":
        return parent.spec.normalisation
    return Normalisation.fit(context.shards, learnt, clip=context.params.encoder.clip, scope=options.scope)


def _provenance(context: Context, run: Run, parent: Checkpoint | None, side: SideTask) -> dict[str, Any]:
    """Entries of ``config.json`` about data, settings and parent."""
    shards = context.shards
    inherited = None
    speakers = {*shards.speakers[np.concatenate([run.train, run.dev, run.rest])], *side.speakers}
    if parent is not None:
        kept = ("kind", "tasks", "data")
        inherited = {"fingerprint": parent.fingerprint, **{name: parent.config.get(name) for name in kept}}
        speakers |= set(parent.config.get("speakers", ()))
    return {
        **run.identity,
        "data": {"shards": shards.fingerprint},
        "front_end": shards.front_end,
        "speakers": sorted(speakers),  # the parent's too, so that no later test takes them for new
        "corpora": sorted(set(shards.corpora[run.train])),
        "params": context.params.model_dump(mode="json", include={"trainer", "encoder", "finetune"}),
        **side.provenance(),
        "parent": inherited,
    }
