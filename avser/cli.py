"""The command line ``avser``: use what was trained, and reach both halves. Heavy imports are in the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import avser
from pipeline import cli as pipeline_cli
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
        pipeline_cli.run(app, extra="avser[all]")  # knows the errors of the pipeline and of the machine
    except InputError as error:
        pipeline_cli.stop(str(error))
