"""Comparisons of named systems, each fine-tuning's scratch with other values in one section of the parameters.

``sequence``: ways from speech of any length to one answer (section ``encoder``); its networks are also timed, and
tested on less and less of every test utterance. ``penalisation``: losses (section ``finetune.penalty``). All share
fine-tuning's units, folds, seeds and training loop.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from trainer.data.dataset import Cut
from trainer.data.shards import Shards, open_shards
from trainer.errors import InputError
from trainer.finetuning.collect import gather, keep_models
from trainer.finetuning.finetune import Context, train_all
from trainer.finetuning.plan import Run, plan
from trainer.models.checkpoint import Checkpoint, load_model
from trainer.params import ComparisonParams, Params, SequenceParams
from trainer.params.changes import changes, with_changes
from trainer.recipes.comparison.report import write_comparison
from trainer.store import replace_folder
from trainer.training.loop import make_deterministic, measure, run_network

Name = Literal["sequence", "penalisation"]


@dataclass(frozen=True)
class System:
    """One way: a name, its parameters, and its units beside what they are trained with."""

    name: str
    context: Context
    units: list[Run]

    @classmethod
    def of(cls, name: str, comparison: Name, shards: Shards, params: Params, *, units: Path) -> System:
        """Lay a system's changes over its section; raises InputError naming it for unknown keys or values."""
        options: ComparisonParams = getattr(params, comparison)
        wanted = changes(options.systems[name], options.changed)
        own = with_changes(params, wanted, where=f"{comparison}.systems.{name}")
        return cls(name, Context(shards, own, None, units), plan(shards, own, None, modes=("scratch",)))

    def load(self, unit: Run) -> Checkpoint:
        """Read the finished model of a unit back."""
        return load_model(self.context.finished / unit.key)


def compare(
    comparison: Name,
    shards_folder: str | Path,
    out: str | Path,
    reports: str | Path,
    params: Params,
    *,
    cache: str | Path = ".cache/trainer",
    workers: int = 1,
    on_start: Callable[[int, int], None] | None = None,
    on_run: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train every missing unit of a comparison's systems, test all, write tables; return the table.

    Writes <comparison>.parquet, .csv, .md and <comparison>_runs.parquet (a row a training) under ``reports``, for
    ``sequence`` also sequence.png and sequence_lengths.parquet (a row a training and share of the length); kept model
    folders under ``out``. Baselines on functionals that lie in ``reports`` are compared too. Units are fine-tuning's,
    in its cache; ``workers`` change no number. Raises InputError for wrong systems and everything that `plan` refuses.
    """
    options = params.finetune
    if options.normalisation == "parent":
        raise InputError(f"finetune.normalisation is 'parent', but the recipe {comparison} has no pretrained parent")
    shards = open_shards(shards_folder, cache=cache)
    finished = Path(cache) / "units"
    chosen: ComparisonParams = getattr(params, comparison)
    systems = [System.of(name, comparison, shards, params, units=finished) for name in chosen.systems]

    def report(job: tuple[int, Run]) -> None:
        number, run = job
        if on_run is not None:
            on_run(f"{systems[number].name} {run.corpus} {run.fold} seed {run.seed}")

    contexts = [system.context for system in systems]
    train_all(contexts, [system.units for system in systems], workers=workers, on_start=on_start, on_done=report)
    make_deterministic(params.trainer, seed=0)
    runs, predictions = [], []
    for system in systems:
        some = gather(system.units, finished, shards, system.context.params.finetune, None)
        runs.append(some[0].assign(mode=system.name))
        predictions.append(some[1].assign(mode=system.name))
    table = pd.concat(runs, ignore_index=True)
    lengths, cost = pd.DataFrame(), pd.DataFrame()
    if isinstance(chosen, SequenceParams):
        lengths = pd.DataFrame([row for system in systems for row in _on_less(system, params)])
        cost = costs(systems, params)
    written = write_comparison(
        comparison,
        Path(reports),
        params,
        runs=table,
        predictions=pd.concat(predictions, ignore_index=True),
        lengths=lengths,
        costs=cost,
    )
    named = [replace(unit, mode=system.name) for system in systems for unit in system.units]
    replace_folder(Path(out), lambda folder: keep_models(folder, finished, named, table, keep=options.keep))
    return written


def _on_less(system: System, params: Params) -> Iterator[dict[str, Any]]:
    """Test every trained network on each share of its own test utterances; a row a network and share."""
    shards, target, device = system.context.shards, params.finetune.target, params.trainer.device
    for unit in system.units:
        loaded = system.load(unit)
        labels = loaded.spec.heads[target].encode(shards.rows.iloc[unit.test], target)
        for share in params.sequence.shares:
            cut = Cut(share, params.sequence.cut)
            data = loaded.spec.dataset(shards, unit.test, {target: labels}, cut=cut)
            outputs = run_network(loaded.network.to(device), data, batch_size=256, device=device)
            yield {
                **{"corpus": unit.corpus, "mode": system.name, "fold": unit.fold, "seed": unit.seed},
                **{"share": share, "cut": params.sequence.cut},
                **measure(outputs, data, loaded.spec.heads)[target],
            }


def costs(systems: Sequence[System], params: Params) -> pd.DataFrame:
    """Parameters and time of every system: a row per corpus and system.

    ``milliseconds``: median over test utterances of the first fold, from the features of one utterance to its answer,
    on the CPU with one thread. Systems take turns on each utterance, so that a busy machine is busy for all.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return pd.DataFrame([row for corpus in _corpora(systems) for row in _cost(systems, corpus, params)])
    finally:
        torch.set_num_threads(threads)


def _corpora(systems: Sequence[System]) -> list[str]:
    return list(dict.fromkeys(unit.corpus for unit in systems[0].units))


def _cost(systems: Sequence[System], corpus: str, params: Params) -> Iterator[dict[str, Any]]:
    loaded, data = [], []
    for system in systems:
        unit = next(unit for unit in system.units if unit.corpus == corpus)
        model = system.load(unit)
        loaded.append(model)
        data.append(model.spec.dataset(system.context.shards, unit.test[: params.sequence.timed], keep_bytes=0))
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
