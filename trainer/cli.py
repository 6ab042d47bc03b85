"""Command line: ``python -m trainer COMMAND``, a command a stage (``--help`` lists them).

torch, pandas and matplotlib are imported inside the commands: ``--help`` should not cost seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from trainer.errors import InputError
from trainer.params import Params, load_params

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
console = Console()
if not console.is_terminal:  # a log or a pipe, which may claim to be 80 columns wide or less
    console = Console(width=max(console.width, 100))

ParamsOption = Annotated[Path, typer.Option("--params", help="Parameter file.")]
WorkersOption = Annotated[int, typer.Option(help="Processes; 0 = one per CPU, at most 8. Changes no result.")]
CacheOption = Annotated[Path, typer.Option("--cache", help="Memory maps and finished units; safe to delete.")]


def _named_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Show an InputError as a message and leave with status 1."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except InputError as error:
            Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
            raise typer.Exit(1) from None

    return wrapped


def _cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _training_workers(asked: int, options: Params) -> int:
    """Return the number of training processes: as asked, or one a CPU and at most 8 (about 1 GB of memory each)."""
    if options.trainer.device == "cuda":
        return 1  # one accelerator: processes would only queue for it
    return asked if asked > 0 else min(8, max(1, _cpus() // options.trainer.threads))


def _narrow(rows: list[dict[str, str]]) -> Table:
    """Lay out rows of equal columns, narrow enough for 80 columns."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row.values()))
    return table


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


@app.command()
@_named_errors
def pretrain(
    shards: Annotated[Path, typer.Option(help="Unlabelled shards.")] = Path("data/shards/unlabelled"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Model folder.")] = Path("models/pretrain"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
) -> None:
    """Train the encoder on the pseudo-labels of unlabelled talking faces."""
    options = load_params(params)
    from trainer.pretrain import pretrain as run

    with _progress() as progress:
        task = progress.add_task("pretrain: epochs", total=options.pretrain.epochs)
        metrics = run(shards, out, options, cache=cache, on_epoch=lambda epoch: progress.update(task, completed=epoch))
        progress.update(task, total=progress.tasks[task].completed)  # early stopping ends before the last epoch
    side = metrics["held_out"]
    table = Table(title=f"pretraining, {side['speakers']} held-out ({side['part']}) speakers")
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
    for kind, prefix in (("utterance", ""), ("frame", "frame_")):
        before, after = (metrics["encoder"][f"{prefix}effective_rank{when}"] for when in ("_before", ""))
        console.print(f"effective rank of {kind} vectors: {before:.1f} before, {after:.1f} after")
    console.print(f"model: {out}")


@app.command()
@_named_errors
def finetune(
    shards: Annotated[Path, typer.Option(help="Labelled shards.")] = Path("data/shards/labelled"),
    parent: Annotated[Path, typer.Option(help="Pretrained model folder.")] = Path("models/pretrain"),
    unlabelled: Annotated[Path, typer.Option(help="Its shards, for finetune.auxiliary.")] = Path(
        "data/shards/unlabelled"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of model folders.")] = Path("models/finetune"),
    reports: Annotated[Path, typer.Option(help="Folder of the result tables.")] = Path("reports"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
    workers: WorkersOption = 0,
) -> None:
    """Train and test on labelled speech: every mode on the same folds and seeds."""
    options = load_params(params)
    from trainer.finetune import finetune as run

    with _progress() as progress:
        task = progress.add_task("finetune: runs", total=None)
        run(
            shards,
            parent,
            out,
            reports,
            options,
            unlabelled=unlabelled,
            cache=cache,
            workers=_training_workers(workers, options),
            on_start=lambda total, done: progress.update(task, total=total, completed=done),
            on_unit=lambda name: progress.update(task, advance=1, description=f"finetune: {escape(name)}"),
        )
    console.print(f"runs: {reports / 'finetune_runs.csv'}, models: {out}")


@app.command()
@_named_errors
def baselines(
    shards: Annotated[Path, typer.Option(help="Labelled shards.")] = Path("data/shards/labelled"),
    functionals: Annotated[Path, typer.Option(help="Functionals of the same set.")] = Path("data/functionals/labelled"),
    reports: Annotated[Path, typer.Option(help="Folder of the result tables.")] = Path("reports"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
    workers: Annotated[int, typer.Option(help="Threads; 0 = one per CPU. Changes no result.")] = 0,
) -> None:
    """Test majority class and SVMs on functionals, on the folds of finetune."""
    options = load_params(params)
    from trainer.baselines import baselines as run

    if workers <= 0:
        workers = _cpus()
    with _progress() as progress:
        task = progress.add_task("baselines", total=None)
        run(
            shards,
            functionals,
            reports,
            options,
            cache=cache,
            workers=workers,
            on_start=lambda total, done: progress.update(task, total=total, completed=done),
            on_trial=lambda name: progress.update(task, advance=1, description=f"baselines: {escape(name)}"),
        )
    if options.finetune.objective != "hard":
        console.print(f"no baselines: they answer with one class, not finetune.objective {options.finetune.objective}")
    console.print(f"baselines: {reports / 'baselines_runs.csv'}")


@app.command()
@_named_errors
def cluster(
    shards: Annotated[Path, typer.Option(help="Labelled shards.")] = Path("data/shards/labelled"),
    unlabelled: Annotated[Path, typer.Option(help="Unlabelled shards.")] = Path("data/shards/unlabelled"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of model folders.")] = Path("models/cluster"),
    reports: Annotated[Path, typer.Option(help="Folder of the result tables.")] = Path("reports/cluster"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
    workers: WorkersOption = 0,
) -> None:
    """Compare supervised training with DeepEmoCluster's, on the folds and seeds of finetune."""
    options = load_params(params)
    from trainer.cluster import cluster as run

    with _progress() as progress:
        task = progress.add_task("cluster: runs", total=None)
        run(
            shards,
            unlabelled,
            out,
            reports,
            options,
            cache=cache,
            workers=_training_workers(workers, options),
            on_start=lambda total, done: progress.update(task, total=total, completed=done),
            on_unit=lambda name: progress.update(task, advance=1, description=f"cluster: {escape(name)}"),
        )
    console.print(f"runs: {reports / 'finetune_runs.csv'}, models: {out}")


@app.command()
@_named_errors
def clusters(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    shards: Annotated[Path, typer.Option(help="Labelled shards.")] = Path("data/shards/labelled"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of tables and picture.")] = Path("reports/clusters"),
    k: Annotated[int, typer.Option(help="Clusters; 0 = those of the model's cluster head.", min=0)] = 0,
    column: Annotated[str, typer.Option(help="Label column.")] = "emotion",
    tsne: Annotated[bool, typer.Option("--tsne", help="t-SNE instead of principal components.")] = False,
    unheard: Annotated[bool, typer.Option("--unheard", help="Only speakers the model has not heard.")] = False,
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
) -> None:
    """Show a model's latent clusters: which emotions they are made of, and a picture."""
    runtime = load_params(params).trainer if params.is_file() else None
    from trainer.latent import latent_clusters as run

    options: dict[str, Any] = {"k": k or None, "column": column, "view": "tsne" if tsne else "pca"}
    found = run(shards, model, out, unheard=unheard, runtime=runtime, cache=cache, **options)
    table = Table(title=f"{escape(column)} of {found.summary['rows']} utterances, by cluster", box=SIMPLE_HEAD)
    for name in found.makeup:
        table.add_column(escape(str(name)))
    for row in found.makeup.to_dict("records"):
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    numbers = (f"{name} {value:.3f}" for name, value in found.summary.items() if isinstance(value, float))
    console.print(escape(", ".join(numbers)))
    console.print(f"tables and picture: {out}")


@app.command()
@_named_errors
def sequence(
    shards: Annotated[Path, typer.Option(help="Labelled shards.")] = Path("data/shards/labelled"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of model folders.")] = Path("models/sequence"),
    reports: Annotated[Path, typer.Option(help="Folder of table and picture; baselines there join.")] = Path("reports"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
    workers: WorkersOption = 0,
) -> None:
    """Compare ways from speech of any length to one answer: chunks, aggregators, padding, cropping."""
    _compare("sequence", shards, out, reports, load_params(params), cache=cache, workers=workers)
    console.print(f"table: {reports / 'sequence.md'}, picture: {reports / 'sequence.png'}, models: {out}")


@app.command()
@_named_errors
def penalisation(
    shards: Annotated[Path, typer.Option(help="Labelled shards with votes.")] = Path("data/shards/labelled"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of model folders.")] = Path("models/penalisation"),
    reports: Annotated[Path, typer.Option(help="Folder of the table; baselines there join.")] = Path("reports"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
    workers: WorkersOption = 0,
) -> None:
    """Compare losses that know from raters' votes which emotions go together."""
    _compare("penalisation", shards, out, reports, load_params(params), cache=cache, workers=workers)
    console.print(f"table: {reports / 'penalisation.md'}, models: {out}")


def _compare(
    name: Literal["sequence", "penalisation"],
    shards: Path,
    out: Path,
    reports: Path,
    options: Params,
    *,
    cache: Path,
    workers: int,
) -> None:
    from trainer.comparison import compare
    from trainer.comparison_report import brief
    from trainer.words import records

    with _progress() as progress:
        task = progress.add_task(f"{name}: runs", total=None)
        compared = compare(
            name,
            shards,
            out,
            reports,
            options,
            cache=cache,
            workers=_training_workers(workers, options),
            on_start=lambda total, done: progress.update(task, total=total, completed=done),
            on_unit=lambda unit: progress.update(task, advance=1, description=f"{name}: {escape(unit)}"),
        )
    for corpus, group in compared.groupby("corpus", sort=True):
        console.print(f"\n[bold]{escape(str(corpus))}[/]")
        console.print(_narrow(brief(records(group))))


@app.command()
@_named_errors
def orofacial(
    shards: Annotated[Path, typer.Option(help="Shards with mouth movement.")] = Path("data/shards/orofacial"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of model folders.")] = Path("models/orofacial"),
    reports: Annotated[Path, typer.Option(help="Folder of the result tables.")] = Path("reports"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
    workers: WorkersOption = 0,
) -> None:
    """Learn mouth movement from speech, alone and with visemes and emotion, and compare."""
    options = load_params(params)
    from trainer.orofacial import orofacial as run

    with _progress() as progress:
        task = progress.add_task("orofacial: runs", total=None)
        run(
            shards,
            out,
            reports,
            options,
            cache=cache,
            workers=_training_workers(workers, options),
            on_start=lambda total, done: progress.update(task, total=total, completed=done),
            on_unit=lambda name: progress.update(task, advance=1, description=f"orofacial: {escape(name)}"),
        )
    console.print((reports / "orofacial.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)
    console.print(f"models: {out}")


@app.command()
@_named_errors
def animate(
    audio: Annotated[Path, typer.Argument(help="Sound or video file.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="Model folder of orofacial.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Film: .mp4.")] = Path("face.mp4"),
) -> None:
    """Draw the face that a sound moves, as a film with that sound. Needs the pipeline."""
    from trainer.animate import animate as run

    console.print(f"{run(audio, model, out):.2f} s: {out}")


@app.command()
@_named_errors
def report(
    reports: Annotated[Path, typer.Option(help="Folder of the result tables; the report is written there.")] = Path(
        "reports"
    ),
    parent: Annotated[Path, typer.Option(help="Pretrained model folder.")] = Path("models/pretrain"),
    params: ParamsOption = Path("params.yaml"),
    show: Annotated[bool, typer.Option("--show", help="Only print the report that is there.")] = False,
) -> None:
    """Write tables, tests, pictures and the page, and print the result."""
    options = load_params(params)
    from trainer.objective import title
    from trainer.report import read_report
    from trainer.report import report as run
    from trainer.words import brief, chosen_measure, paired_line, records, rules_line

    results, paired, banner = read_report(reports, parent) if show else run(reports, parent, options.report)
    if banner:
        console.print(f"[bold white on red] {escape(banner)} [/]")
    measure = options.report.measure
    console.print("speech only, held-out speakers: mean±standard deviation over folds x seeds")
    if set(results["objective"]) != {"hard"}:
        console.print("baselines answer with one class and are left out here")
    for corpus, group in results.groupby("corpus", sort=True):
        rows = records(group)
        own = chosen_measure(rows[0], measure)
        console.print(f"\n[bold]{escape(rules_line(rows))}[/]")
        console.print(_narrow(brief(rows, measure=measure)))
        console.print(
            f"pooled: {title(own)} over all folds' utterances; its {100 * options.report.confidence:g} % interval is "
            "over resampled speakers"
        )
        for test in records(paired[paired["corpus"] == corpus]):
            if test["measure"] in {own, "macro_f1", "ccc"}:
                console.print(escape(paired_line(test)))
    console.print(f"\nreport: {reports / 'index.html'}")


@app.command()
@_named_errors
def ablation(
    shards: Annotated[Path, typer.Option(help="Labelled shards.")] = Path("data/shards/labelled"),
    unlabelled: Annotated[Path, typer.Option(help="Unlabelled shards.")] = Path("data/shards/unlabelled"),
    reports: Annotated[Path, typer.Option(help="Folder of the table and the picture.")] = Path("reports"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
    workers: WorkersOption = 0,
    count: Annotated[bool, typer.Option("--count", help="Only say how many trainings there are and are done.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Only print the table that is there.")] = False,
) -> None:
    """Compare recipes, tasks and amounts of speech and labels with scratch; fill one table and one picture."""
    options = load_params(params)
    from trainer.ablation import Counts, Study
    from trainer.ablation import ablation as run
    from trainer.ablation_report import brief, read_ablation
    from trainer.words import records

    if count:
        console.print(str(Study.of(shards, unlabelled, options, cache=cache).counts()), soft_wrap=True)
        return
    if not show:
        with _progress() as progress:
            task = progress.add_task("ablation", total=None)

            def start(counts: Counts) -> None:
                progress.console.print(str(counts), soft_wrap=True)
                progress.update(task, total=counts.total, completed=counts.done)

            run(
                shards,
                unlabelled,
                reports,
                options,
                cache=cache,
                workers=_training_workers(workers, options),
                on_start=start,
                on_training=lambda name: progress.update(task, advance=1, description=f"ablation: {escape(name)}"),
            )
    table = read_ablation(reports)
    for (part, corpus), group in table.groupby(["part", "corpus"], sort=True):
        warning = " [bold white on red] SYNTHETIC [/]" if group["synthetic"].any() else ""
        console.print(f"\n[bold]{escape(f'{corpus}, {part}')}[/]{warning}")
        console.print(_narrow(brief(records(group))))
    console.print(f"table: {reports / 'ablation.csv'}, picture: {reports / 'ablation.png'}")


@app.command()
@_named_errors
def predict(
    shards: Annotated[Path, typer.Argument(help="Shard folder.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="Model folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table: .parquet or .csv.")] = Path("predictions.parquet"),
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
) -> None:
    """Predict every row of a shard folder with a trained model."""
    runtime = load_params(params).trainer if params.is_file() else None
    from trainer.predict import predict as run

    table = run(shards, model, out, runtime=runtime, cache=cache)
    console.print(f"{len(table)} predictions: {out}")


@app.command()
@_named_errors
def probe(
    parents: Annotated[list[Path], typer.Argument(help="Pretrained model folders.")],
    shards: Annotated[Path, typer.Option(help="Labelled shards.")] = Path("data/shards/labelled"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Table: .csv or .parquet.")] = Path("reports/probe.csv"),
    draws: Annotated[int, typer.Option(help="Label draws a fold, where finetune.label_fraction is below 1.")] = 8,
    params: ParamsOption = Path("params.yaml"),
    cache: CacheOption = Path(".cache/trainer"),
) -> None:
    """Compare frozen pretrained layers with random ones by a linear classifier: minutes, no training."""
    options = load_params(params)
    from trainer.probe import compare
    from trainer.probe import probe as run

    rows = compare(run(shards, parents, out, options, draws=draws, cache=cache))
    table = Table(title=f"linear probe, macro F1, {options.finetune.label_fraction:.0%} of the labels")
    for name in ("corpus", "network", "macro F1", "minus random", "± pairs (n)", "± folds (n)"):
        table.add_column(name)
    for row in rows.to_dict("records"):
        table.add_row(
            escape(str(row["corpus"])),
            escape(str(row["network"])),
            f"{row['macro_f1']:.3f}",
            f"{row['difference']:+.3f}",
            f"{row['se_pairs']:.3f} ({row['pairs']})",
            f"{row['se_folds']:.3f} ({row['folds']})",
        )
    console.print(table)
    console.print(f"tests: {out}")
