"""The command line ``avser``: use what was trained, and reach both halves. Heavy imports are in the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import avser
from pipeline import cli as pipeline_cli
from pipeline.checks import cli as pipeline_checks
from trainer import cli as trainer_cli
from trainer.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The face teaches the voice: labels, models, predictions.",
)
app.add_typer(pipeline_cli.app, name="pipeline", help="Media to shards: one command a stage, and tools.")
app.add_typer(trainer_cli.app, name="trainer", help="Shards to models, measures and the report.")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"avser {avser.__version__}")
        raise typer.Exit


@app.callback()
def front_door(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command()
def predict(
    sources: Annotated[list[Path], typer.Argument(help="Sound and film files, folders of them, manifests (.csv).")],
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Model folder; default: models/final.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write: .csv or .parquet.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write: probabilities over time.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Do not cut long recordings (up to 10 min).")] = False,
    root: Annotated[Path | None, typer.Option(help="Where a manifest's paths start; default: its folder.")] = None,
    speech_model: Annotated[Path | None, typer.Option(help="Folder of the speech model, where it has moved.")] = None,
) -> None:
    """Say what emotion is heard in recordings, a row a segment."""
    from avser.predict import run_predict

    if not run_predict(
        sources, model=model, output=output, plot=plot, whole=whole, root=root, speech_model=speech_model
    ):
        raise typer.Exit(2)


@app.command()
def labels(
    film: Annotated[Path, typer.Argument(help="Film of a talking face.")],
    thresholds: Annotated[Path, typer.Option(help="What the labels of a corpus were fitted to.")] = Path(
        "data/thresholds.json"
    ),
    corpus: Annotated[str | None, typer.Option(help="Whose thresholds, where there are several.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Compare with this speaker's own face.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table to write: .csv or .parquet.")] = None,
) -> None:
    """Show the three pseudo-labels of a film, and why."""
    from avser.labelling import run_labels

    if not run_labels(film, thresholds=thresholds, corpus=corpus, speaker=speaker, output=output):
        raise typer.Exit(2)


app.command()(pipeline_checks.inspect)
app.command()(pipeline_checks.browse)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Model folder (--onnx) or shard folder (--hf).")],
    onnx: Annotated[Path | None, typer.Option(help="Write the model as this ONNX file.")] = None,
    hf: Annotated[Path | None, typer.Option(help="Write sound and labels as this folder for datasets.")] = None,
) -> None:
    """Hand on a model as one ONNX file, or a labelled set as a folder for Hugging Face's datasets."""
    if (onnx is None) == (hf is None):
        raise InputError("name one of --onnx FILE and --hf FOLDER")
    if onnx is not None:
        from trainer.export_onnx import export_onnx

        print(f"ONNX: {export_onnx(source, onnx)}")
    if hf is not None:
        from avser.export import export_dataset

        splits = export_dataset(source, hf)
        print(f"dataset: {hf}; " + ", ".join(f"{split} {count}" for split, count in splits.items()))


@app.command()
def check(
    params: Annotated[Path, typer.Option(help="Parameter file.")] = Path("params.yaml"),
    passed: Annotated[Path | None, typer.Option(help="Write this file if the parameters are sound (for DVC).")] = None,
) -> None:
    """Check parameters, manifests, labels and folds in seconds, and name everything that is wrong."""
    from avser.check import check as run
    from avser.check import write_passed

    found = run(params)
    for fact in found.facts:
        print(fact)
    problems = f"{len(found.problems)} problems:\n" + "\n".join(f"- {text}" for text in found.problems)
    if found.problems and (passed is None or found.wrong_parameters):
        raise InputError(problems)
    # Films can be labelled before the labelled set is complete, so what is wrong with manifests stops no stage here:
    # each says it again when its turn comes.
    print(f"warning: {problems}" if found.problems else "nothing is wrong")
    if passed is not None:
        write_passed(passed)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def repro(
    context: typer.Context,
    table: Annotated[bool, typer.Option("--table", help="End with the table of results.")] = False,
) -> None:
    """Run `dvc repro`, and say before each stage how much is left; all other options go to DVC."""
    from avser.repro import repro as run

    raise typer.Exit(run(context.args, table=table))


@app.command()
def corpus(
    name: Annotated[str, typer.Argument(help="Recipe: the name of a file in recipes/corpora.")],
    root: Annotated[Path, typer.Argument(help="Folder of the corpus, as it is published.")],
    only_prepare: Annotated[
        bool, typer.Option("--only-prepare", help="Write manifests and parameters, and run nothing.")
    ] = False,
) -> None:
    """Run the whole flow on a published corpus by its published protocol: manifests, parameters, results."""
    from avser.corpus import prepare

    for line in prepare(name, root):
        print(line)
    if only_prepare:
        return
    from avser.repro import repro as run

    raise typer.Exit(run([]))


@app.command()
def quick(folder: Annotated[Path, typer.Argument(help="Folder of all results.")] = Path("build/quick")) -> None:
    """Run the whole flow on a few small synthetic films, to see that it works."""
    from avser.quick import quick as run

    run(folder)


@app.command()
def compare(
    first: Annotated[
        str, typer.Argument(help="The older result: a git revision, a DVC experiment, or a folder with a report.")
    ] = "HEAD",
    second: Annotated[str, typer.Argument(help="The newer one, likewise.")] = "workspace",
    reports: Annotated[Path, typer.Option("--reports", help="Folder of the reports in this project.")] = Path(
        "reports"
    ),
    params: Annotated[Path, typer.Option("--params", help="Parameter file.")] = Path("params.yaml"),
) -> None:
    """Compare two results: numbers side by side, differences, paired tests; without arguments, with the last commit."""
    from avser.compare import show

    show(first, second, reports=reports, params=params)


def main() -> None:
    """Run a command; a mistake in the input or a fault of the machine ends with its message and status 2."""
    try:
        pipeline_cli.run(app, extra="all")  # knows the errors of the pipeline and of the machine
    except InputError as error:
        pipeline_cli.stop(str(error))
