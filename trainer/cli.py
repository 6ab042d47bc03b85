"""Command line: ``python -m trainer COMMAND``, a command a stage (``--help`` lists them).

torch, pandas and matplotlib are imported inside the commands: ``--help`` should not cost seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from trainer.console import (
    CACHE,
    LABELLED,
    PARAMS,
    PARENT,
    REPORTS,
    UNLABELLED,
    CacheOption,
    LabelledOption,
    ModelsOption,
    ParamsOption,
    ParentOption,
    ReportsOption,
    UnlabelledOption,
    WorkersOption,
    console,
    counted,
    cpus,
    named_errors,
    narrow,
    training_workers,
)
from trainer.params import load_params
from trainer.progress import steps
from trainer.recipes import cli as recipes

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(recipes.app)


@app.command()
@named_errors
def pretrain(
    shards: Annotated[Path, typer.Option(help="Unlabelled shards.")] = UNLABELLED,
    labelled: Annotated[
        Path, typer.Option(help="Labelled shards, for the folds that test somebody whom the films show.")
    ] = LABELLED,
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder.")] = PARENT,
    params: ParamsOption = PARAMS,
    cache: CacheOption = CACHE,
    workers: WorkersOption = 0,
) -> None:
    """Train the encoder on what the faces of the films say; once more a fold that tests somebody whom they show."""
    options = load_params(params)
    from trainer.finetuning.pretrainings import pretrain_all as run

    with steps("pretrain", console) as shown:
        needed = run(
            shards,
            out,
            options,
            labelled=labelled if labelled.is_dir() else None,
            cache=cache,
            workers=training_workers(workers, options),
            on_start=shown.begin,
            on_step=shown.step,
        )
        shown.end()
    metrics = needed.everyone.metrics
    side = metrics["held_out"]
    held_out = f"speaker, who was trained on: other {side['unit']}" if "unit" in side else "speakers"
    table = Table(title=f"pretraining, {side['speakers']} held-out ({side['part']}) {held_out}")
    for name in ("task", "UAR", "chance", "held-out labels"):
        table.add_column(name)
    for name, values in metrics["tasks"].items():
        counts = ", ".join(f"{label} {count}" for label, count in values["held_out_labels"].items())
        numbers = (f"{values[key]:.3f}" if key in values else "-" for key in ("uar", "chance"))
        table.add_row(name, *numbers, counts)
    if metrics["tasks"]:
        console.print(table)
    if "dense" in metrics:
        tracks = Table(title="dense tracks, correlation over held-out frames")
        for name in ("track", "r"):
            tracks.add_column(name)
        for name, value in metrics["dense"].items():
            tracks.add_row(name, "-" if value is None else f"{value:.3f}")
        console.print(tracks)
    if metrics.get("matching"):
        found, chance = (f"{metrics['matching'][name]:.3f}" for name in ("found", "chance"))
        console.print(f"own face among those of the speaker: found {found}, chance {chance}")
    for kind, prefix in (("utterance", ""), ("frame", "frame_")):
        before, after = (metrics["encoder"][f"{prefix}effective_rank{when}"] for when in ("_before", ""))
        console.print(f"effective rank of {kind} vectors: {before:.1f} before, {after:.1f} after")
    console.print(f"model: {out}", markup=False)
    if needed.folds:
        console.print(
            f"and one for each of {len(needed.folds)} folds, without the speakers whom it tests", markup=False
        )


@app.command()
@named_errors
def finetune(
    shards: LabelledOption = LABELLED,
    parent: ParentOption = PARENT,
    unlabelled: UnlabelledOption = UNLABELLED,
    out: ModelsOption = Path("models/finetune"),
    reports: ReportsOption = REPORTS,
    params: ParamsOption = PARAMS,
    cache: CacheOption = CACHE,
    workers: WorkersOption = 0,
) -> None:
    """Train and test on labelled speech: every mode on the same folds and seeds."""
    options = load_params(params)
    from trainer.finetuning.finetune import finetune as run

    with counted("finetune", cache=cache, workers=training_workers(workers, options)) as shown:
        run(shards, parent, out, reports, options, unlabelled=unlabelled, **shown)
    console.print(f"runs: {reports / 'finetune_runs.csv'}, models: {out}", markup=False)


@app.command()
@named_errors
def baselines(
    shards: LabelledOption = LABELLED,
    functionals: Annotated[Path, typer.Option(help="Functionals of the same set.")] = Path("data/functionals/labelled"),
    reports: ReportsOption = REPORTS,
    params: ParamsOption = PARAMS,
    cache: CacheOption = CACHE,
    workers: Annotated[int, typer.Option(help="Threads; 0 = one per CPU. Changes no result.")] = 0,
) -> None:
    """Test majority class and SVMs on functionals, on the folds of finetune."""
    options = load_params(params)
    from trainer.baselines.trials import baselines as run

    with counted("baselines", cache=cache, workers=workers if workers > 0 else cpus()) as shown:
        run(shards, functionals, reports, options, **shown)
    if options.finetune.objective != "hard":
        console.print(f"no baselines: they answer with one class, not finetune.objective {options.finetune.objective}")
    console.print(f"baselines: {reports / 'baselines_runs.csv'}", markup=False)


@app.command()
@named_errors
def report(
    reports: ReportsOption = REPORTS,
    parent: ParentOption = PARENT,
    params: ParamsOption = PARAMS,
    show: Annotated[bool, typer.Option("--show", help="Only print the report that is there.")] = False,
) -> None:
    """Write tables, tests, pictures and the page, and print the result."""
    options = load_params(params)
    from trainer.report.findings import networks
    from trainer.report.formatting import brief, chosen_measure, paired_line, records, rules_line, title
    from trainer.report.report import read_findings, read_report
    from trainer.report.report import report as run

    results, paired, banner = read_report(reports, parent) if show else run(reports, parent, options.report)
    if banner:
        console.print(f"[bold white on red] {escape(banner)} [/]")
    measure = options.report.measure
    if set(results["objective"]) != {"hard"}:
        console.print("baselines answer with one class and are left out here")
    compared = networks(paired)
    for corpus, group in results.groupby("corpus", sort=True):
        rows = records(group)
        own = chosen_measure(rows[0], measure)
        console.print(f"\n{escape(rules_line(rows))}")
        for test in records(compared[compared["corpus"] == corpus]):
            if test["measure"] in {own, "macro_f1", "ccc"}:
                console.print(escape(paired_line(test)))
    console.print()
    for finding in read_findings(results, paired, parent, options.report):
        console.print(f"[bold]{escape(finding.sentence())}[/]")
    console.print(
        "\nspeech only, held-out speakers: mean±standard deviation over folds x seeds; pooled: over all folds' "
        f"utterances, with its {100 * options.report.confidence:g} % interval over resampled speakers"
    )
    for corpus, group in results.groupby("corpus", sort=True):
        rows = records(group)
        console.print(f"\n[bold]{escape(str(corpus))}[/], pooled {title(chosen_measure(rows[0], measure))}")
        console.print(narrow(brief(rows, measure=measure)))
    console.print(f"report: {reports / 'index.html'}", markup=False)


@app.command()
@named_errors
def final(
    shards: LabelledOption = LABELLED,
    parent: ParentOption = PARENT,
    unlabelled: UnlabelledOption = UNLABELLED,
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder.")] = Path("models/final"),
    reports: ReportsOption = REPORTS,
    params: ParamsOption = PARAMS,
    cache: CacheOption = CACHE,
    workers: WorkersOption = 0,
) -> None:
    """Train the model to use on all labelled rows; calibrate and describe it by the folds."""
    options = load_params(params)
    from trainer.final.final import final as run

    with counted("final", cache=cache, workers=training_workers(workers, options)) as shown:
        folders = run(shards, parent, out, reports, options, unlabelled=unlabelled, **shown)
    for folder in folders:
        console.print(f"model: {folder}", markup=False)
    if not folders:
        console.print("no final model: finetune.final is false")


@app.command()
@named_errors
def predict(
    shards: Annotated[Path, typer.Argument(help="Shard folder.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="Model folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table: .parquet or .csv.")] = Path("predictions.parquet"),
    params: ParamsOption = PARAMS,
    cache: CacheOption = CACHE,
) -> None:
    """Predict every row of a shard folder with a trained model."""
    runtime = load_params(params).trainer if params.is_file() else None
    from trainer.predict import predict as run

    table = run(shards, model, out, runtime=runtime, cache=cache)
    console.print(f"{len(table)} predictions: {out}", markup=False)
