"""Fine-tuning: the same folds and seeds from scratch, from the pretrained encoder, and (optionally) frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.data.chunking import chunking_for
from trainer.data.normalisation import Normalisation
from trainer.data.rows import speaker_keys
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.finetuning.auxiliary import Auxiliary, check_auxiliary
from trainer.finetuning.collect import collect
from trainer.finetuning.plan import Run, check_parent, plan
from trainer.finetuning.side_task import SideTask
from trainer.models.checkpoint import Checkpoint, ModelSpec, load_model, save_model
from trainer.objectives.penalty import penalise
from trainer.params import Params
from trainer.recipes.cluster.clustering import BOTH, CLUSTERED, ClusterRecipe, Unlabelled
from trainer.store import is_done
from trainer.training.jobs import in_processes
from trainer.training.loop import fit, make_deterministic, measure, run_network


@dataclass(frozen=True)
class Context:
    """What all units of a run share; small enough to send to worker processes."""

    shards: Shards
    params: Params
    parent: Path | None
    units: Path  # folder of finished units
    unlabelled: Shards | None = None  # for mode clustered_both and finetune.auxiliary

    def side_task(self, mode: str, parent: Checkpoint | None) -> SideTask:
        """Return what a mode trains beside the target."""
        others = self.unlabelled
        if mode in (CLUSTERED, BOTH):
            return ClusterRecipe(self.params.cluster, Unlabelled(others) if others and mode == BOTH else None)
        if self.params.finetune.goes_on(mode):
            assert parent is not None  # never plain training under the key of the other
            assert others is not None
            return Auxiliary(self.params.finetune.auxiliary, parent, others)
        return SideTask()


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
    """Run every missing unit, then write models and tables; return the rows of ``finetune_runs``.

    Every unit trains on its own seed and is stored under a key of its content: a killed run resumes, a repeated run
    costs nothing, and the number of ``workers`` (processes) changes no number.

    ``parent``: the pretrained model folder (not needed for mode scratch alone). ``unlabelled``: the shards it was
    pretrained on, opened only for ``finetune.auxiliary``. Writes ``reports``/finetune_runs
    (.parquet, .csv), predictions.parquet, finetune_history.csv and the kept model folders with an index.json under
    ``out``. ``on_start(units, already done)`` and ``on_run(name)`` report progress. Raises InputError for leaking
    splits, pretraining speakers in a test fold, and a parent that does not fit.
    """
    shards = open_shards(shards_folder, cache=cache)
    needs_parent = set(params.finetune.modes) != {"scratch"}
    loaded = load_model(parent) if needs_parent else None
    if loaded is not None:
        check_parent(loaded, shards, params, Path(parent))
    others = None
    if loaded is not None and any(params.finetune.goes_on(mode) for mode in params.finetune.modes):
        if unlabelled is None:
            raise InputError("finetune.auxiliary needs the unlabelled shards that the parent was pretrained on")
        others = open_shards(unlabelled, cache=cache)
        check_auxiliary(loaded, others, params.finetune.target)
    context = Context(shards, params, Path(parent) if needs_parent else None, Path(cache) / "units", others)
    return train_runs(
        context,
        plan(shards, params, loaded),
        loaded,
        out=Path(out),
        reports=Path(reports),
        workers=workers,
        on_start=on_start,
        on_run=on_run,
    )


def train_runs(
    context: Context,
    units: list[Run],
    parent: Checkpoint | None,
    *,
    out: Path,
    reports: Path,
    workers: int,
    on_start: Callable[[int, int], None] | None,
    on_run: Callable[[str], None] | None,
) -> pd.DataFrame:
    """Train those of ``units`` that are not finished, then write models and tables of all; see `finetune`."""
    missing = [unit for unit in units if not is_done(context.units, unit.key)]
    if on_start is not None:
        on_start(len(units), len(units) - len(missing))
    for unit in in_processes(train_run, context, missing, workers=workers):
        if on_run is not None:
            on_run(f"{unit.corpus} {unit.mode} {unit.fold} seed {unit.seed}")
    return collect(units, context.units, context.shards, context.params.finetune, parent, out=out, reports=reports)


def unfinished(contexts: Sequence[Context], units: Sequence[Sequence[Run]]) -> list[tuple[int, Run]]:
    """Jobs for `train_job`: of the units of each context those that are not finished, once a key."""
    jobs: dict[str, tuple[int, Run]] = {}
    for number, (context, some) in enumerate(zip(contexts, units, strict=True)):
        for unit in some:
            if unit.key not in jobs and not is_done(context.units, unit.key):
                jobs[unit.key] = (number, unit)
    return list(jobs.values())


def train_job(contexts: Sequence[Context], job: tuple[int, Run]) -> None:
    """Train a unit in the context of its number."""
    number, unit = job
    train_run(contexts[number], unit)


def train_run(context: Context, unit: Run) -> None:
    """Train and test one unit; its folder under ``context.units`` appears only when it is complete."""
    shards, params = context.shards, context.params
    options, runtime = params.finetune, params.trainer
    parent = load_model(context.parent) if unit.mode != "scratch" and context.parent is not None else None
    target = options.target
    labels = unit.objective.encode(shards.rows, target)
    objective = unit.objective.fitted(labels[unit.train])
    side = context.side_task(unit.mode, parent)
    heads = {target: objective, **side.heads}
    spec = ModelSpec(
        kind="finetune",
        encoder=params.encoder,
        head_hidden=options.head_hidden,
        heads=heads,
        feature_names=shards.feature_names,
        frame_period=shards.frame_period,
        chunking=chunking_for(shards, unit.train, params.encoder),
        normalisation=parent.spec.normalisation
        if parent is not None and options.normalisation == "parent"
        else Normalisation.fit(
            shards,
            unit.train,
            clip=params.encoder.clip,
            scope="speaker" if options.normalisation == "speaker" else "train",
        ),
        frames=side.frames,
    )
    train, dev, test = (
        spec.dataset(shards, rows, {target: labels[rows], **side.targets(len(rows))})
        for rows in (unit.train, unit.dev, unit.test)
    )
    make_deterministic(runtime, seed=unit.seed)
    network = spec.build()
    if parent is not None:
        network.encoder.carry_over(parent.network.encoder, part=options.transfer)
    side.carry_over(network)
    own_loss = penalise(
        objective.loss(labels[unit.train], label_smoothing=options.label_smoothing),
        objective,
        shards.rows.iloc[unit.train],
        options.penalty,
        label_smoothing=options.label_smoothing,
    )
    loss = side.loss(target, own_loss)
    fitted = fit(
        network,
        train,
        dev if len(dev) else None,
        heads=heads,
        loss=loss,
        schedule=options,
        seed=unit.seed,
        device=runtime.device,
        freeze=network.encoder.carried(options.transfer) if unit.mode == "frozen" else (),
        each_epoch=side.each_epoch(train, spec, loss, seed=unit.seed, device=runtime.device),
    )
    outputs = run_network(network, test, batch_size=256, device=runtime.device)
    speakers = speaker_keys(shards.rows, unknown_is_own=True)
    metrics = {
        **{name: getattr(unit, name) for name in ("corpus", "mode", "fold", "seed")},
        "classes": list(objective.names),
        "n_train": len(train),
        "n_dev": len(dev),
        "n_test": len(test),
        **measure(outputs, test, heads)[target],
        "dev_score": fitted.best_score,
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        **side.about(fitted.history, tested=set(speakers[unit.test])),
    }
    provenance = {
        "corpus": unit.corpus,
        "mode": unit.mode,
        "fold": unit.fold,
        "seed": unit.seed,
        "data": {"shards": shards.fingerprint},
        "speakers": sorted({*speakers[np.concatenate([unit.train, unit.dev])], *side.speakers}),
        "params": params.model_dump(mode="json", include={"trainer", "encoder", "finetune"}),
        **side.provenance(),
        "parent": None
        if parent is None
        else {"fingerprint": parent.fingerprint, "tasks": parent.config["tasks"], "data": parent.config["data"]},
    }
    told = objective.predict(outputs.logits[target])
    save_model(
        context.units / unit.key,
        network,
        spec=spec,
        provenance=provenance,
        metrics=metrics,
        history=fitted.history,
        extra=lambda folder: np.save(folder / "predictions.npy", told),
    )
