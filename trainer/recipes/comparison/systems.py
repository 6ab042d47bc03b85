"""Comparisons of named systems, each fine-tuning's scratch with other values in one section of the parameters.

``sequence``: ways from speech of any length to one answer (section ``encoder``); its networks are also timed, and
tested on less and less of every test utterance. ``penalisation``: losses (section ``finetune.penalty``). All share
fine-tuning's runs, folds, seeds and training loop.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from trainer.data.dataset import Cut
from trainer.data.shards import Shards
from trainer.errors import InputError
from trainer.finetuning.classes import open_labelled
from trainer.finetuning.collect import gather, keep_models
from trainer.finetuning.finetune import Context, train_all
from trainer.finetuning.plan import Run, plan
from trainer.models.checkpoint import Checkpoint, load_model
from trainer.params import ComparisonParams, Params, SequenceParams
from trainer.params.changes import changes, with_changes
from trainer.recipes.comparison.report import write_comparison
from trainer.store import replace_folder
from trainer.training.loop import make_deterministic, measure, run_network


@dataclass(frozen=True)
class System:
    """One system: its name, its runs and what they are trained with."""

    name: str
    context: Context
    runs: list[Run]

    @classmethod
    def of(cls, name: str, shards: Shards, params: Params, recipe: ComparisonParams, *, finished: Path) -> System:
        """Lay a system's changes over its section; raises InputError naming it for unknown keys or values."""
        wanted = changes(recipe.systems[name], recipe.changed)
        own = with_changes(params, wanted, where=f"{recipe.name}: systems.{name}")
        return cls(name, Context(shards, own, finished), plan(shards, own, None, modes=("scratch",)))

    def load(self, run: Run) -> Checkpoint:
        """Read the finished model of a run back."""
        return load_model(self.context.finished / run.key)


def compare(
    shards_folder: str | Path,
    out: str | Path,
    reports: str | Path,
    params: Params,
    recipe: ComparisonParams,
    *,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int, int], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train every missing run of the systems of ``recipe``, test all, write tables; return the table.

    Writes <name>.parquet, .csv, .md and <name>_runs.parquet (a row a training) under ``reports``, for ``sequence`` also
    sequence.png and sequence_lengths.parquet (a row a training and share of the length); kept model folders under
    ``out``. Baselines on functionals that lie in ``reports`` are compared too. Runs are fine-tuning's, in its cache;
    ``workers`` (processes) change no number.

    Raises:
        InputError: wrong systems, and everything that `plan` refuses.
    """
    options = params.finetune
    if options.normalisation == "parent":
        raise InputError(f"finetune.normalisation is 'parent', but the recipe {recipe.name} has no pretrained parent")
    shards = open_labelled(shards_folder, options, cache=cache)
    finished = Path(cache) / "units"
    systems = [System.of(name, shards, params, recipe, finished=finished) for name in recipe.systems]

    def report_run(job: tuple[int, Run]) -> None:
        number, run = job
        if on_run is not None:
            on_run(f"{systems[number].name} {run.corpus} {run.fold} seed {run.seed}")

    contexts = [system.context for system in systems]
    train_all(contexts, [system.runs for system in systems], workers=workers, on_start=on_start, on_done=report_run)
    make_deterministic(params.trainer, seed=0)
    runs, predictions = [], []
    for system in systems:
        gathered = gather(system.runs, finished, shards, system.context.params.finetune)
        runs.append(gathered[0].assign(mode=system.name))
        predictions.append(gathered[1].assign(mode=system.name))
    table = pd.concat(runs, ignore_index=True)
    lengths, cost = pd.DataFrame(), pd.DataFrame()
    if isinstance(recipe, SequenceParams):
        lengths = pd.DataFrame([row for system in systems for row in _on_less(system, params, recipe)])
        cost = costs(systems, timed=recipe.timed)
    written = write_comparison(
        Path(reports),
        params.report,
        recipe,
        runs=table,
        predictions=pd.concat(predictions, ignore_index=True),
        lengths=lengths,
        costs=cost,
    )
    named = [replace(run, mode=system.name) for system in systems for run in system.runs]
    replace_folder(Path(out), lambda folder: keep_models(folder, finished, named, table, keep=options.keep))
    return written


def _on_less(system: System, params: Params, recipe: SequenceParams) -> Iterator[dict[str, Any]]:
    """Test every trained network on each share of its own test utterances; a row a network and share."""
    shards, target, device = system.context.shards, params.finetune.target, params.trainer.device
    for run in system.runs:
        loaded = system.load(run)
        labels = loaded.spec.heads[target].encode(shards.rows.iloc[run.test], target)
        for share in recipe.shares:
            data = loaded.spec.dataset(shards, run.test, {target: labels}, cut=Cut(share, recipe.cut))
            outputs = run_network(loaded.network.to(device), data, batch_size=256, device=device)
            yield {
                **{"corpus": run.corpus, "mode": system.name, "fold": run.fold, "seed": run.seed},
                **{"share": share, "cut": recipe.cut},
                **measure(outputs, data, loaded.spec.heads)[target],
            }


def costs(systems: Sequence[System], *, timed: int) -> pd.DataFrame:
    """Parameters and time of every system: a row per corpus and system.

    ``milliseconds``: median over at most ``timed`` test utterances of the first fold, from the features of one
    utterance to its answer, on the CPU with one thread. Systems take turns on each utterance, so that a busy machine is
    busy for all.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        corpora = dict.fromkeys(run.corpus for run in systems[0].runs)
        return pd.DataFrame([row for corpus in corpora for row in _cost(systems, corpus, timed)])
    finally:
        torch.set_num_threads(threads)


def _cost(systems: Sequence[System], corpus: str, timed: int) -> Iterator[dict[str, Any]]:
    loaded, data = [], []
    for system in systems:
        run = next(run for run in system.runs if run.corpus == corpus)
        model = system.load(run)
        loaded.append(model)
        data.append(model.spec.dataset(system.context.shards, run.test[:timed], keep_bytes=0))
    taken: list[list[float]] = [[] for _ in systems]
    with torch.no_grad():
        for index in (0, *range(len(data[0]))):  # the first once more: it warms up
            for number, (model, utterances) in enumerate(zip(loaded, data, strict=True)):
                start = time.perf_counter()
                model.network(utterances[index])
                taken[number].append(1000 * (time.perf_counter() - start))
    for number, (system, model) in enumerate(zip(systems, loaded, strict=True)):
        chunking = model.spec.chunking
        yield {
            **{"corpus": corpus, "mode": system.name, "length": model.spec.encoder.length},
            **{"chunks": chunking.count, "chunk_seconds": chunking.frames * model.spec.frame_period},
            "parameters": sum(weights.numel() for weights in model.network.parameters()),
            "milliseconds": statistics.median(taken[number][1:]),
        }
