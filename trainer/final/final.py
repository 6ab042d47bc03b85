"""Train, calibrate and describe the model to use."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.data.shards import open_shards
from trainer.errors import InputError, Notice
from trainer.final.calibration import Calibration, calibrate
from trainer.final.card import write_card
from trainer.finetuning.auxiliary import side_tasks
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.decide import decide
from trainer.finetuning.finetune import Context, train_all
from trainer.finetuning.parents import Parents
from trainer.finetuning.plan import Run, plan_final
from trainer.objectives import OBJECTIVES
from trainer.params import FROM_PARENT, FinetuneParams, Params
from trainer.store import free_place, read_table, replace_folder, seal, slug, write_json


def mode_of(options: FinetuneParams, paired: pd.DataFrame) -> str:
    """Return the mode of the final model.

    Args:
        options: with ``final_mode``; auto: pretrained where it is one of the modes, else the first, and scratch where
            the folds' mean over the corpora is below that of scratch, or they show harm on one corpus. Harm need not
            be shown: a few folds and seeds show little, and the sign of their mean is right far more often.
        paired: comparisons with scratch, as the report writes them; may be empty.
    """
    if options.final_mode != "auto":
        return options.final_mode
    networks = [mode for mode in options.chosen if mode != "ensemble"]
    if "pretrained" not in networks:
        return networks[0] if networks else "scratch"
    score = OBJECTIVES[options.objective].score
    if "scratch" not in networks or paired.empty:
        return "pretrained"
    rows = paired[(paired["mode"] == "pretrained") & (paired["measure"] == score)]
    harmed = rows["verdict"].str.startswith("worse, significant").any()
    if rows.empty or (rows["mean_difference"].mean() >= 0 and not harmed):
        return "pretrained"
    where = ", ".join(f"{row['corpus']} {row['mean_difference']:+.3f} {score}" for _, row in rows.iterrows())
    warnings.warn(
        f"pretraining {'did harm' if harmed else 'did not help'} ({where}): the final model is trained from scratch; "
        "finetune.final_mode chooses another",
        Notice,
        stacklevel=2,
    )
    return "scratch"


def final(
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
) -> list[Path]:
    """Write the final models: one is ``out`` itself, those of several corpora lie in folders of their names below it.

    Each is trained on all labelled rows of its corpus in one mode of section finetune, with the first seed. The
    folds of `trainer.finetuning.finetune.finetune` say what it is worth: their measures are its ``metrics.json`` and
    their held-out predictions its calibration (objective ``hard`` alone).

    Args:
        shards_folder: labelled shards.
        parent: checkpoint of pretraining (not needed for mode scratch).
        out: replaced as a whole; with ``finetune.final: false`` it becomes an empty folder.
        reports: where finetune and report have written their tables.
        params: sections trainer, encoder and finetune count.
        unlabelled: the shards of pretraining, opened only for ``finetune.auxiliary``.
        cache: folder of finished runs and memory maps.
        workers: processes.
        on_start: called with the number of trainings and of those already done.
        on_run: called with the name of every finished training.

    Returns:
        The model folders.

    Raises:
        InputError: the tables are missing, or as `trainer.finetuning.finetune.finetune`.
    """
    out, reports = Path(out), Path(reports)
    if not params.finetune.final:
        replace_folder(out, lambda folder: None)
        return []
    results, predictions = _tables(reports)
    shards = open_labelled(shards_folder, params.finetune, cache=cache)
    # All labels, whatever share the comparison was about.
    params = params.model_copy(update={"finetune": params.finetune.model_copy(update={"label_fraction": 1.0})})
    params = decide(params, shards)
    options, mode = params.finetune, mode_of(params.finetune, _paired(reports))
    parents = Parents.read(parent) if mode in FROM_PARENT else None
    if parents is not None:
        parents.check(shards, params)
    looks = options.goes_on(mode) or (mode == "student" and options.self_training.face > 0)
    others = open_shards(unlabelled, cache=cache) if looks and unlabelled is not None else None
    side = side_tasks(options, others)
    context = Context(shards, params, Path(cache) / "units", side, others)
    runs = plan_final(shards, params, parents, mode=mode, side=side, films=others)
    progress = None if on_run is None else lambda job: on_run(str(job[1]))
    train_all([context], [runs], workers=workers, on_start=on_start, on_done=progress)

    def fill(work: Path) -> None:
        for run in runs:
            tested = set(shards.corpora[run.train])
            place = work if len(runs) == 1 else free_place(work / slug(run.corpus))
            measured = results[(results["mode"] == mode) & results["corpus"].isin(tested)]
            held_out = predictions[(predictions["mode"] == mode) & predictions["corpus"].isin(tested)]
            _finish(place, context.finished / run.key, run, measured, held_out, context)

    replace_folder(out, fill)
    return [out] if len(runs) == 1 else sorted(path for path in out.iterdir() if path.is_dir())


def _tables(reports: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    try:
        return read_table(reports / "results.csv"), read_table(reports / "predictions.parquet")
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename or reports} is missing: run `python -m trainer finetune`, then `python -m trainer report`"
        ) from None


def _paired(reports: Path) -> pd.DataFrame:
    try:
        return read_table(reports / "paired.csv")
    except FileNotFoundError:  # nothing was compared
        return pd.DataFrame()


def _finish(
    place: Path, trained: Path, run: Run, measured: pd.DataFrame, held_out: pd.DataFrame, context: Context
) -> None:
    """Copy a finished training and add calibration, the folds' measures and the card."""
    shutil.copytree(trained, place, ignore=shutil.ignore_patterns("*.npy"), dirs_exist_ok=True)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    calibration = calibration_of(run, held_out)
    if calibration is not None:
        config["calibration"] = calibration.to_json()
    write_json(place / "config.json", config)
    metrics = json.loads((place / "metrics.json").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = json.loads(measured.to_json(orient="records"))
    note = "nobody was held out of this model: folds are the measures of networks trained alike on parts of its data"
    write_json(place / "metrics.json", {**metrics, "note": note, "folds": rows})
    write_card(place, run, rows, calibration, context)
    seal(place)


def calibration_of(run: Run, held_out: pd.DataFrame) -> Calibration | None:
    """Return the calibration by the folds' predictions, None for objectives that do not answer with one class."""
    names = list(run.objective.names)
    columns = [f"p_{name}" for name in names]
    if not run.objective.one_class or run.objective.kind != "hard" or not {"target", *columns} <= set(held_out):
        return None
    rows = held_out[held_out["target"].isin(names)].dropna(subset=columns)
    if rows.empty:
        return None
    truth = np.array([names.index(name) for name in rows["target"]])
    folds = np.array([f"{corpus} {fold}" for corpus, fold in zip(rows["corpus"], rows["fold"], strict=True)])
    return calibrate(rows[columns].to_numpy(float), truth, folds)
