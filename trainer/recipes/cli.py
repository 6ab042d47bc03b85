"""Commands of the recipes: ablation, probe, clusters, comparisons of chunks and losses, orofacial movement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from trainer.console import (
    CacheOption,
    ParamsOption,
    WorkersOption,
    console,
    counted,
    named_errors,
    narrow,
    progress_bar,
    training_workers,
)
from trainer.params import Params, load_params

app = typer.Typer()


@app.command()
@named_errors
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
    from trainer.recipes.cluster.study import cluster as run

    with counted("cluster", what="runs") as (on_start, on_run):
        run(
            shards,
            unlabelled,
            out,
            reports,
            options,
            cache=cache,
            workers=training_workers(workers, options),
            on_start=on_start,
            on_run=on_run,
        )
    console.print(f"runs: {reports / 'finetune_runs.csv'}, models: {out}")


@app.command()
@named_errors
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
    from trainer.recipes.cluster.latent import latent_clusters as run

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
@named_errors
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
@named_errors
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
    from trainer.recipes.comparison.report import brief
    from trainer.recipes.comparison.systems import compare
    from trainer.report.formatting import records

    with counted(name, what="runs") as (on_start, on_run):
        compared = compare(
            name,
            shards,
            out,
            reports,
            options,
            cache=cache,
            workers=training_workers(workers, options),
            on_start=on_start,
            on_run=on_run,
        )
    for corpus, group in compared.groupby("corpus", sort=True):
        console.print(f"\n[bold]{escape(str(corpus))}[/]")
        console.print(narrow(brief(records(group))))


@app.command()
@named_errors
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
    from trainer.recipes.orofacial.study import orofacial as run

    with counted("orofacial", what="runs") as (on_start, on_run):
        run(
            shards,
            out,
            reports,
            options,
            cache=cache,
            workers=training_workers(workers, options),
            on_start=on_start,
            on_run=on_run,
        )
    console.print((reports / "orofacial.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)
    console.print(f"models: {out}")


@app.command()
@named_errors
def animate(
    audio: Annotated[Path, typer.Argument(help="Sound or video file.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="Model folder of orofacial.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Film: .mp4.")] = Path("face.mp4"),
) -> None:
    """Draw the face that a sound moves, as a film with that sound. Needs the pipeline."""
    from trainer.recipes.orofacial.animate import animate as run

    console.print(f"{run(audio, model, out):.2f} s: {out}")


@app.command()
@named_errors
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
    from trainer.recipes.ablation.report import brief, read_ablation
    from trainer.recipes.ablation.study import Counts, Study
    from trainer.recipes.ablation.study import ablation as run
    from trainer.report.formatting import records

    if count:
        console.print(str(Study.of(shards, unlabelled, options, cache=cache).counts()), soft_wrap=True)
        return
    if not show:
        with progress_bar() as progress:
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
                workers=training_workers(workers, options),
                on_start=start,
                on_training=lambda name: progress.update(task, advance=1, description=f"ablation: {escape(name)}"),
            )
    table = read_ablation(reports)
    for (part, corpus), group in table.groupby(["part", "corpus"], sort=True):
        warning = " [bold white on red] SYNTHETIC [/]" if group["synthetic"].any() else ""
        console.print(f"\n[bold]{escape(f'{corpus}, {part}')}[/]{warning}")
        console.print(narrow(brief(records(group))))
    console.print(f"table: {reports / 'ablation.csv'}, picture: {reports / 'ablation.png'}")


@app.command()
@named_errors
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
    from trainer.recipes.probe import compare
    from trainer.recipes.probe import probe as run

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
