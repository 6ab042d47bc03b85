"""Baselines: what simple recognisers reach on the very folds and seeds of fine-tuning.

Majority class or mean, and linear and RBF support vector machines on openSMILE functionals: classifiers with objective
``hard``, regressions with ``attribute``. They say whether a network's
number is progress; so they get the same rows, the same checks and the same measures, and their result rows have the
form of fine-tuning's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.baselines.collect import ANSWERS, collect, write
from trainer.baselines.functionals import FEATURES, Functionals, of_frames, open_functionals
from trainer.baselines.svm import MAJORITY, build, per_speaker
from trainer.data.arrays import IntArray
from trainer.data.rows import Target, text
from trainer.data.shards import Shards
from trainer.data.splits import label_subset
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.decide import decide
from trainer.finetuning.plan import Run, plan
from trainer.params import BaselinesParams, Params
from trainer.store import code_fingerprint, content_key, is_done, package_versions, replace_folder, seal, write_json

_KEYS = ["corpus", "mode", "fold", "seed"]
WITH_BASELINES = ("hard", "attribute")  # objectives


@dataclass(frozen=True)
class Trial:
    """One baseline on one split. Row indices into the shards; ``train`` has features wherever the model needs them."""

    run: Run  # of fine-tuning, which has the split
    model: str
    features: str | None
    mode: str
    train: IntArray
    key: str


def baselines(
    shards_folder: str | Path,
    functionals_folder: str | Path,
    reports: str | Path,
    params: Params,
    *,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int, int], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Run every missing trial; write and return the rows of ``baselines_runs``.

    Writes ``reports``/baselines_runs (.parquet, .csv; one row a trial) and baselines_predictions.parquet (one row per
    test utterance and trial), in the form of fine-tuning's. A trial's predictions are stored under a key of its
    content (features, labels, rows, model, code), so that a killed run resumes and a repeated run costs nothing.
    ``workers`` are threads (libsvm runs outside the interpreter lock) and change no number.
    With an objective other than ``hard`` and ``attribute`` there are no baselines, and the tables are empty.
    ``on_start(trials, already done)`` and ``on_run(name)`` report progress.

    Raises:
        InputError: as `plan` and `open_functionals` do.
    """
    options = params.baselines
    if params.finetune.objective not in WITH_BASELINES:
        return write(Path(reports), pd.DataFrame(columns=_KEYS), pd.DataFrame(columns=_KEYS))
    shards = open_labelled(shards_folder, params.finetune, cache=cache)
    params = decide(params, shards)
    wanted = options.features if set(options.models) != {MAJORITY} else ()
    stored = tuple(name for name in wanted if name != FEATURES)
    tables = open_functionals(functionals_folder, shards.rows["segment_id"], stored) if stored else {}
    if FEATURES in wanted:
        tables[FEATURES] = of_frames(shards)
    if options.normalisation == "speaker":
        tables = {
            name: replace(table, values=per_speaker(table.values, shards.speakers)) for name, table in tables.items()
        }
    trials = plan_trials(shards, tables, params)
    store = Path(cache) / "baselines"
    missing = list({trial.key: trial for trial in trials if not is_done(store, trial.key)}.values())
    if on_start is not None:
        on_start(len(trials), len(trials) - len(missing))
    for trial in _run(missing, shards, tables, options, store, target=params.finetune.target, workers=workers):
        if on_run is not None:
            on_run(f"{trial.run.corpus} {trial.mode} {trial.run.fold}")
    return collect(trials, shards, tables, params, store=store, reports=Path(reports))


def plan_trials(shards: Shards, tables: dict[str, Functionals], params: Params) -> list[Trial]:
    """All trials, on the splits of `trainer.finetuning.plan.plan` with all its checks.

    A split that another seed repeats row by row (all rows and all labels: nothing is drawn) is run once, under the
    first seed: copies would fake pairs.
    """
    options = params.baselines
    finetuning = params.finetune.model_copy(update={"modes": ("scratch",)})
    prints: dict[tuple[frozenset[str], str], str] = {}
    trials, seen = [], set()
    for run in plan(shards, params.model_copy(update={"finetune": finetuning}), None):
        labels = run.objective.encode(shards.rows, finetuning.target)
        train = _training_rows(shards, run, labels, options, fraction=finetuning.share)
        for model, features in _recognisers(options):
            rows = train if features is None else train[tables[features].present[train]]
            identity: dict[str, Any] = {
                "model": [model, features],
                "options": options.model_dump(mode="json", exclude={"models", "features", "rows"}),
                "classes": run.objective.names,
                "labels": labels[rows].tolist(),
                "rows": [shards.rows["segment_id"].iloc[side].tolist() for side in (rows, run.test)],
                "code": code_fingerprint("baselines"),
                "packages": package_versions(),
            }
            if features is not None:
                corpora = frozenset(shards.corpora[np.concatenate([rows, run.test])])
                if (corpora, features) not in prints:
                    used = np.flatnonzero(np.isin(shards.corpora, list(corpora)))
                    prints[corpora, features] = tables[features].fingerprint(used)
                identity["features"] = prints[corpora, features]
            key = content_key(identity)
            if key not in seen:
                seen.add(key)
                trials.append(Trial(run, model, features, _mode(model, features, options), rows, key))
    return trials


def _recognisers(options: BaselinesParams) -> Iterator[tuple[str, str | None]]:
    for model in options.models:
        if model == MAJORITY:
            yield model, None
        else:
            yield from ((model, name) for name in options.features)


def _mode(model: str, features: str | None, options: BaselinesParams) -> str:
    if features is None:
        return model
    return f"{model} {features}" + (" per speaker" if options.normalisation == "speaker" else "")


def _training_rows(shards: Shards, run: Run, labels: Target, options: BaselinesParams, *, fraction: float) -> IntArray:
    """Rows that a baseline learns from: the network's own, or (``all``) those of its early-stopping speakers too.

    Rows that the manifest itself calls dev are nobody's training rows. With a label fraction the early-stopping rows
    are thinned like the others, so that the share of the fold's labels stays true.
    """
    if options.rows == "network":
        return run.train
    held = run.dev
    if run.fold == "split":  # the one protocol in which dev rows can be given
        held = held[text(shards.rows, "split")[held] != "dev"]
    rng = np.random.default_rng([run.seed, 1])
    drawn = label_subset(run.objective.strata(labels[held]), fraction=fraction, rng=rng)
    return np.sort(np.concatenate([run.train, held[drawn]]))


def _run(
    trials: list[Trial],
    shards: Shards,
    tables: dict[str, Functionals],
    options: BaselinesParams,
    store: Path,
    *,
    target: str,
    workers: int,
) -> Iterator[Trial]:
    def one(trial: Trial) -> Trial:
        y = trial.run.objective.encode(shards.rows.iloc[trial.train], target)
        answers = (_predict if trial.run.objective.is_classes else _estimate)(trial, tables, y, options)

        def fill(folder: Path) -> None:
            write_json(folder / ANSWERS, answers)
            seal(folder)

        replace_folder(store / trial.key, fill)
        return trial

    pool = ThreadPoolExecutor(max(1, workers))
    try:
        for future in as_completed([pool.submit(one, trial) for trial in trials]):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for an SVM


def _predict(trial: Trial, tables: dict[str, Functionals], y: IntArray, options: BaselinesParams) -> dict[str, Any]:
    """Train on a trial's rows and predict a class index for every test row, and probabilities where the model has them.

    A test row without features gets the most frequent training class: leaving it out would flatter the baseline.
    """
    test = trial.run.test
    shares = np.bincount(y, minlength=len(trial.run.objective.names)) / len(y)
    predicted = np.full(len(test), int(shares.argmax()))
    if trial.features is None:
        return {"predicted": predicted.tolist(), "probabilities": [shares.tolist()] * len(test), "without": 0}
    table = tables[trial.features]
    has = table.present[test]
    if len(np.unique(y)) > 1 and has.any():
        model = build(trial.model, options, n_features=len(table.feature_names))
        predicted[has] = model.fit(table.values[trial.train], y).predict(table.values[test[has]])
    return {"predicted": predicted.tolist(), "probabilities": None, "without": int((~has).sum())}


def _estimate(trial: Trial, tables: dict[str, Functionals], y: Target, options: BaselinesParams) -> dict[str, Any]:
    """Train one regression an attribute on a trial's rows and predict every test row; without features, the mean."""
    test = trial.run.test
    predicted = np.tile(np.nanmean(y, axis=0, dtype=float), (len(test), 1))
    if trial.features is None:
        return {"predicted": predicted.tolist(), "probabilities": None, "without": 0}
    table = tables[trial.features]
    has = table.present[test]
    for number in range(y.shape[1]):
        known = ~np.isnan(y[:, number])
        if len(np.unique(y[known, number])) > 1 and has.any():
            model = build(trial.model, options, n_features=len(table.feature_names), attribute=True)
            model.fit(table.values[trial.train[known]], y[known, number].astype(float))
            predicted[has, number] = model.predict(table.values[test[has]])
    return {"predicted": predicted.tolist(), "probabilities": None, "without": int((~has).sum())}
