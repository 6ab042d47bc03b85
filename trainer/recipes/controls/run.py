"""The run of the controls: parents, then everything that starts from them, then the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from trainer.finetuning.collect import gather
from trainer.finetuning.finetune import train_all
from trainer.finetuning.plan import Run
from trainer.finetuning.pretrainings import pretrain_one
from trainer.params import ControlsParams, Params
from trainer.recipes.controls.arms import Controls
from trainer.recipes.controls.report import write_controls
from trainer.training.jobs import train_missing


def controls(
    labelled: str | Path,
    films: str | Path,
    reports: str | Path,
    params: Params,
    recipe: ControlsParams,
    *,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int, int], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train every arm that is not trained yet, then write and return the table.

    Every training is kept under a key of its content, so that a killed run goes on and a further arm costs what is new.

    Args:
        labelled: labelled shards.
        films: unlabelled shards; they may be missing where no arm starts from films.
        reports: gets controls.parquet, .csv and .md, and controls_runs.parquet with a row a training.
        params: all sections; folds, objective and schedule are those of finetune.
        recipe: the arms.
        cache: folder of finished trainings and memory maps.
        workers: processes; they change no number.
        on_start: called twice, before parents and before what starts from them: trainings in all, and those done.
        on_run: called with the name of every finished training.

    Raises:
        InputError: a wrong arm, and everything that pretraining and fine-tuning refuse.
    """
    study = Controls.of(labelled, films, params, recipe, cache=cache)
    first, teachers = study.pretrainings, [leg for leg in study.legs if leg.teachers]
    total = len(first) + len({run.key for leg in teachers for run in leg.teachers})
    planned = [(leg.arm if run.parent else "", run) for leg in study.legs for run in study.runs(leg)]
    later = len({(arm, one.key) for arm, run in planned for one in (run, *run.teachers)})
    done = sum(one.done for one in first.values())
    if on_start is not None:
        on_start(total + later, done)
    report = on_run or (lambda name: None)
    train_missing(
        first, lambda key: first[key].done, pretrain_one, (Path(films), Path(cache)), workers=workers,
        on_done=lambda one: report(one.name),
    )  # fmt: skip

    def tuned(job: tuple[int, Run]) -> None:
        report(str(job[1]))

    if teachers:
        full = [study.context(leg) for leg in teachers]
        train_all(full, [leg.teachers for leg in teachers], workers=workers, on_done=tuned)
    contexts, runs = [study.context(leg) for leg in study.legs], [study.runs(leg) for leg in study.legs]
    train_all(contexts, runs, workers=workers, on_done=tuned)
    tables = []
    for leg, own in zip(study.legs, runs, strict=True):
        results, predictions, _ = gather(own, study.finished, study.labelled, leg.params.finetune)
        seed = leg.params.pretrain.seed if leg.pretrainings is not None or leg.teachers else None
        predictions = predictions.assign(mode=leg.arm, label_fraction=leg.params.finetune.label_fraction)
        tables.append((results.assign(mode=leg.arm, pretrain_seed=seed), predictions))
    everything, answers = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    shown = [] if study.films is None else sorted(set(study.films.corpora))
    others = {leg.arm for leg in study.legs if leg.of_others}
    return write_controls(everything, answers, Path(reports), params.report, recipe, films=shown, of_others=others)
