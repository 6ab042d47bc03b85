"""The run of an ablation: every missing training of the study, then its table and picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from trainer.finetuning.collect import gather
from trainer.finetuning.finetune import train_all
from trainer.finetuning.plan import Run
from trainer.finetuning.pretrainings import pretrain_one
from trainer.params import AblationParams, Params
from trainer.recipes.ablation.report import CellRuns, write_ablation
from trainer.recipes.ablation.study import Counts, Study
from trainer.training.jobs import train_missing


def ablation(
    labelled: str | Path,
    unlabelled: str | Path,
    reports: str | Path,
    params: Params,
    recipe: AblationParams,
    *,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[Counts], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run every missing training of the grid, then write and return the table.

    Writes ablation.parquet, .csv, .md and .png and ablation_runs.parquet (a row a training) under ``reports``; see
    `trainer.recipes.ablation.report`.

    ``workers`` (processes) change no number. ``on_start(counts)`` is called before anything is trained, and
    ``on_run(name)`` after each training.

    Raises:
        InputError: a wrong variant, a verdict of too few pairs, and everything that `pretrain` and `finetune` refuse.
    """
    study = Study.of(labelled, unlabelled, params, recipe, cache=cache)
    counts = study.counts()
    if on_start is not None:
        on_start(counts)
    report_run = on_run or (lambda name: None)
    train_missing(
        study.pretrainings,
        lambda key: study.pretrainings[key].done,
        pretrain_one,
        (Path(unlabelled), Path(cache)),
        workers=workers,
        on_done=lambda pretraining: report_run(pretraining.name),
    )
    legs = study.everything()

    def report_tuned(job: tuple[int, Run]) -> None:
        number, run = job
        report_run(f"{run}, {100 * legs[number].params.finetune.share:g} % of the labels")

    contexts = [study.context(leg) for leg in legs]
    train_all(contexts, [leg.runs for leg in legs], workers=workers, on_done=report_tuned)
    return write_ablation(_cell_runs(study), Path(reports), params.report, recipe)


def _cell_runs(study: Study) -> Iterator[CellRuns]:
    """Gather the finished runs of every cell, with the scratch runs on the same folds, seeds and labels."""
    finished = study.finished
    scratch: dict[tuple[str, ...], tuple[pd.DataFrame, pd.DataFrame]] = {}
    for cell in study.cells:
        base = study.scratch(cell)
        identity = tuple(run.key for run in base.runs)
        if identity not in scratch:
            scratch[identity] = gather(base.runs, finished, study.labelled, base.params.finetune)[:2]
        runs, predictions, hours = [], [], []
        corpora: set[str] = set()
        for leg in study.legs(cell):
            assert leg.parents is not None
            everyone = leg.parents.everyone
            of_leg = gather(leg.runs, finished, study.labelled, leg.params.finetune)
            runs.append(of_leg[0].assign(pretrain_seed=everyone.params.pretrain.seed))
            predictions.append(of_leg[1])
            hours.append(everyone.metrics["train"]["hours"])
            config = json.loads((everyone.folder / "config.json").read_text(encoding="utf-8"))
            corpora |= set(config["corpora"])
        yield CellRuns(
            part=cell.part,
            variant=cell.variant,
            tasks=str(runs[0]["pretrain_tasks"].iloc[0] or "-"),
            mode=cell.mode,
            label_fraction=cell.params.finetune.share,
            unlabelled_fraction=cell.params.pretrain.unlabelled_fraction,
            unlabelled_hours=sum(hours) / len(hours),
            pretrain_corpora=tuple(sorted(corpora)),
            runs=pd.concat(runs, ignore_index=True),
            predictions=pd.concat(predictions, ignore_index=True),
            scratch_runs=scratch[identity][0],
            scratch_predictions=scratch[identity][1],
            scratch_identity="".join(identity),
        )
