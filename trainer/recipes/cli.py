"""Commands of the recipes: ablation, probe, clusters, comparisons of chunks and losses, orofacial movement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from trainer.console import (
    CACHE,
    LABELLED,
    PARAMS,
    REPORTS,
    UNLABELLED,
    CacheOption,
    LabelledOption,
    ModelsOption,
    ParamsOption,
    RecipeOption,
    ReportsOption,
    UnlabelledOption,
    WorkersOption,
    console,
    counted,
    named_errors,
    narrow,
    training_workers,
)
from trainer.params import (
    AblationParams,
    ClusterParams,
    ComparisonParams,
    ControlsParams,
    OrofacialParams,
    PenalisationParams,
    SequenceParams,
    load_params,
    load_recipe,
)

app = typer.Typer()


@app.command()
@named_errors
def cluster(
    shards: LabelledOption = LABELLED,
    unlabelled: UnlabelledOption = UNLABELLED,
    out: ModelsOption = Path("models/cluster"),
    reports: ReportsOption = Path("reports/cluster"),
    params: ParamsOption = PARAMS,
    recipe: RecipeOption = Path("recipes/cluster/params.yaml"),
    cache: CacheOption = CACHE,
    workers: WorkersOption = 0,
) -> None:
    """Compare supervised training with DeepEmoCluster's, on the folds and seeds of finetune."""
    options, clusters = load_params(params), load_recipe(recipe, ClusterParams)
    from trainer.recipes.cluster.study import cluster as run

    with counted("cluster", cache=cache, workers=training_workers(workers, options)) as shown:
        run(shards, unlabelled, out, reports, options, clusters, **shown)
    console.print(f"runs: {reports / 'finetune_runs.csv'}, models: {out}", markup=False)


@app.command()
@named_errors
def clusters(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    shards: LabelledOption = LABELLED,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of tables and picture.")] = Path("reports/clusters"),
    k: Annotated[int, typer.Option(help="Clusters; 0 = those of the model's cluster head.", min=0)] = 0,
    column: Annotated[str, typer.Option(help="Label column.")] = "emotion",
    tsne: Annotated[bool, typer.Option("--tsne", help="t-SNE instead of principal components.")] = False,
    unheard: Annotated[bool, typer.Option("--unheard", help="Only speakers that were not in the training.")] = False,
    params: ParamsOption = PARAMS,
    recipe: RecipeOption = Path("recipes/cluster/params.yaml"),
    cache: CacheOption = CACHE,
) -> None:
    """Show a model's latent clusters: which emotions they are made of, and a picture."""
    runtime = load_params(params).trainer if params.is_file() else None
    options = load_recipe(recipe, ClusterParams) if recipe.is_file() else ClusterParams()
    from trainer.recipes.cluster.latent import latent_clusters as run
    from trainer.report.numbers import number

    found = run(
        shards,
        model,
        out,
        options,
        k=k or None,
        column=column,
        view="tsne" if tsne else "pca",
        unheard=unheard,
        runtime=runtime,
        cache=cache,
    )
    table = Table(title=f"{escape(column)} of {found.summary['rows']} utterances, by cluster", box=SIMPLE_HEAD)
    for name in found.makeup:
        table.add_column(escape(str(name)))
    for row in found.makeup.to_dict("records"):
        table.add_row(*(number(value, 2) if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    numbers = (f"{name} {number(value)}" for name, value in found.summary.items() if isinstance(value, float))
    console.print(escape(", ".join(numbers)))
    console.print(f"tables and picture: {out}", markup=False)


def _comparison(kind: type[ComparisonParams], summary: str) -> None:
    """Add the command that compares the systems of a recipe."""

    @app.command(kind.name, help=summary)
    @named_errors
    def command(
        shards: LabelledOption = LABELLED,
        out: ModelsOption = Path("models", kind.name),
        reports: ReportsOption = REPORTS,
        params: ParamsOption = PARAMS,
        recipe: RecipeOption = Path("recipes", kind.name, "params.yaml"),
        cache: CacheOption = CACHE,
        workers: WorkersOption = 0,
    ) -> None:
        options, systems = load_params(params), load_recipe(recipe, kind)
        from trainer.recipes.comparison.report import brief
        from trainer.recipes.comparison.systems import compare
        from trainer.report.formatting import records

        with counted(kind.name, cache=cache, workers=training_workers(workers, options)) as shown:
            compared = compare(shards, out, reports, options, systems, **shown)
        for corpus, group in compared.groupby("corpus", sort=True):
            console.print(f"\n[bold]{escape(str(corpus))}[/]")
            console.print(narrow(brief(records(group))))
        picture = reports / f"{kind.name}.png"
        drawn = f", picture: {picture}" if kind is SequenceParams else ""
        console.print(f"table: {reports / kind.name}.md{drawn}, models: {out}", markup=False)


_comparison(
    SequenceParams, "Compare ways from speech of any length to one answer; baselines among the reports join in."
)
_comparison(PenalisationParams, "Compare losses that use raters' votes; baselines among the reports join in.")


@app.command()
@named_errors
def orofacial(
    shards: Annotated[Path, typer.Option(help="Shards with mouth movement.")] = Path("data/shards/orofacial"),
    out: ModelsOption = Path("models/orofacial"),
    reports: ReportsOption = REPORTS,
    params: ParamsOption = PARAMS,
    recipe: RecipeOption = Path("recipes/orofacial/params.yaml"),
    cache: CacheOption = CACHE,
    workers: WorkersOption = 0,
) -> None:
    """Learn mouth movement from speech, alone and with visemes and emotion, and compare."""
    options, faces = load_params(params), load_recipe(recipe, OrofacialParams)
    from trainer.recipes.orofacial.study import orofacial as run

    with counted("orofacial", cache=cache, workers=training_workers(workers, options)) as shown:
        run(shards, out, reports, options, faces, **shown)
    console.print((reports / "orofacial.md").read_text(encoding="utf-8"), markup=False, soft_wrap=True)
    console.print(f"models: {out}", markup=False)


@app.command()
@named_errors
def animate(
    audio: Annotated[Path, typer.Argument(help="Sound or video file.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="Model folder of orofacial.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Film: .mp4.")] = Path("face.mp4"),
) -> None:
    """Draw the face that a sound moves, as a film with that sound. Needs the pipeline."""
    from trainer.recipes.orofacial.animate import animate as run

    console.print(f"{run(audio, model, out):.2f} s: {out}", markup=False)


@app.command()
@named_errors
def ablation(
    shards: LabelledOption = LABELLED,
    unlabelled: UnlabelledOption = UNLABELLED,
    reports: ReportsOption = REPORTS,
    params: ParamsOption = PARAMS,
    recipe: RecipeOption = Path("recipes/ablation/params.yaml"),
    cache: CacheOption = CACHE,
    workers: WorkersOption = 0,
    count: Annotated[bool, typer.Option("--count", help="Only say how many trainings there are and are done.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Only print the table that is there.")] = False,
) -> None:
    """Compare variants, tasks and amounts of speech and labels with scratch; fill one table and one picture."""
    options, grid = load_params(params), load_recipe(recipe, AblationParams)
    from trainer.recipes.ablation.report import brief, read_ablation
    from trainer.recipes.ablation.run import ablation as run
    from trainer.recipes.ablation.study import Counts, Study
    from trainer.report.formatting import records

    if count:
        console.print(str(Study.of(shards, unlabelled, options, grid, cache=cache).counts()), soft_wrap=True)
        return
    if not show:
        with counted("ablation", cache=cache, workers=training_workers(workers, options)) as shown:

            def start(counts: Counts) -> None:
                console.print(str(counts), soft_wrap=True)
                shown["on_start"](counts.total, counts.done)

            run(shards, unlabelled, reports, options, grid, **{**shown, "on_start": start})
    table = read_ablation(reports)
    for (part, corpus), group in table.groupby(["part", "corpus"], sort=True):
        warning = " [bold white on red] SYNTHETIC [/]" if group["synthetic"].any() else ""
        console.print(f"\n[bold]{escape(f'{corpus}, {part}')}[/]{warning}")
        console.print(narrow(brief(records(group))))
    console.print(f"table: {reports / 'ablation.csv'}, picture: {reports / 'ablation.png'}", markup=False)


@app.command()
@named_errors
def controls(
    shards: LabelledOption = LABELLED,
    unlabelled: UnlabelledOption = UNLABELLED,
    reports: ReportsOption = REPORTS,
    params: ParamsOption = PARAMS,
    recipe: RecipeOption = Path("recipes/controls/params.yaml"),
    cache: CacheOption = CACHE,
    workers: WorkersOption = 0,
    show: Annotated[bool, typer.Option("--show", help="Only print the table that is there.")] = False,
) -> None:
    """Ask whether it is the face that teaches: ceilings, exchanged faces, and gains that need no face."""
    options, arms = load_params(params), load_recipe(recipe, ControlsParams)
    from trainer.recipes.controls.answers import answers, sentence
    from trainer.recipes.controls.report import brief, read_controls
    from trainer.recipes.controls.run import controls as run
    from trainer.report.formatting import records

    if not show:
        with counted("controls", cache=cache, workers=training_workers(workers, options)) as shown:
            run(shards, unlabelled, reports, options, arms, **shown)
    for group in answers(read_controls(reports)):
        first = group.iloc[0]
        console.print(f"\n[bold]{escape(first['corpus'])}, {first['label_fractions']} of the labels[/]")
        console.print(narrow(brief(records(group))))
        console.print(sentence(records(group)), markup=False)
    console.print(f"table: {reports / 'controls.md'}", markup=False)


@app.command()
@named_errors
def probe(
    parents: Annotated[list[Path], typer.Argument(help="Pretrained model folders.")],
    shards: LabelledOption = LABELLED,
    out: Annotated[Path, typer.Option("--out", "-o", help="Table: .csv or .parquet.")] = Path("reports/probe.csv"),
    draws: Annotated[int, typer.Option(help="Label draws a fold, where finetune.label_fraction is below 1.")] = 8,
    params: ParamsOption = PARAMS,
    cache: CacheOption = CACHE,
) -> None:
    """Compare frozen pretrained layers with random ones by a linear classifier: minutes, no training."""
    options = load_params(params)
    from trainer.recipes.probe import compare
    from trainer.recipes.probe import probe as run
    from trainer.report.numbers import number

    rows = compare(run(shards, parents, out, options, draws=draws, cache=cache))
    table = Table(title=f"linear probe, macro F1, {options.finetune.share:.0%} of the labels")
    for name in ("corpus", "network", "macro F1", "minus random", "± pairs (n)", "± folds (n)"):
        table.add_column(name)
    for row in rows.to_dict("records"):
        table.add_row(
            escape(str(row["corpus"])),
            escape(str(row["network"])),
            number(row["macro_f1"]),
            number(row["difference"], signed=True),
            f"{number(row['se_pairs'])} ({row['pairs']})",
            f"{number(row['se_folds'])} ({row['folds']})",
        )
    console.print(table)
    console.print(f"tests: {out}", markup=False)
