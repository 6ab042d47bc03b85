"""What all commands share: the terminal, options, progress, and mistakes as messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from trainer.errors import InputError
from trainer.params import Params

console = Console()
if not console.is_terminal:  # a log or a pipe, which may claim to be 80 columns wide or less
    console = Console(width=max(console.width, 100))

LABELLED, UNLABELLED = Path("data/shards/labelled"), Path("data/shards/unlabelled")
PARENT, REPORTS = Path("models/pretrain"), Path("reports")
PARAMS, CACHE = Path("params.yaml"), Path(".cache/trainer")

LabelledOption = Annotated[Path, typer.Option("--shards", help="Labelled shards.")]
UnlabelledOption = Annotated[Path, typer.Option("--unlabelled", help="Unlabelled shards.")]
ParentOption = Annotated[Path, typer.Option("--parent", help="Pretrained model folder.")]
ModelsOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of model folders.")]
ReportsOption = Annotated[Path, typer.Option("--reports", help="Folder of the result tables.")]
ParamsOption = Annotated[Path, typer.Option("--params", help="Parameter file.")]
RecipeOption = Annotated[Path, typer.Option("--recipe", help="Parameter file of the recipe.")]
CacheOption = Annotated[Path, typer.Option("--cache", help="Memory maps and finished trainings; safe to delete.")]
WorkersOption = Annotated[int, typer.Option(help="Processes; 0 = one per CPU, at most 8. Changes no result.")]

INPUT_MISTAKE = 2  # exit status, as in the pipeline


def named_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Show an InputError as a message and leave with status 2."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except InputError as error:
            Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
            raise typer.Exit(INPUT_MISTAKE) from None

    return wrapped


def cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def training_workers(asked: int, options: Params) -> int:
    """Return the number of training processes: as asked, or one a CPU and at most 8 (about 1 GB of memory each)."""
    if options.trainer.device == "cuda":
        return 1  # one accelerator: processes would only queue for it
    return asked if asked > 0 else min(8, max(1, cpus() // options.trainer.threads))


def narrow(rows: list[dict[str, str]]) -> Table:
    """Lay out rows of equal columns, narrow enough for 80 columns."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row.values()))
    return table


def progress_bar() -> Progress:
    """Return a bar with counts, time gone and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


@contextmanager
def counted(name: str, *, cache: Path, workers: int) -> Iterator[dict[str, Any]]:
    """Show the progress of a command that does many runs, each reported by its name.

    Yields:
        The keyword arguments of the function behind the command: ``cache``, ``workers``, ``on_start(total, done)`` and
        ``on_run(name)``.
    """
    with progress_bar() as progress:
        task = progress.add_task(f"{name}: runs", total=None)
        yield {
            "cache": cache,
            "workers": workers,
            "on_start": lambda total, done: progress.update(task, total=total, completed=done),
            "on_run": lambda run: progress.update(task, advance=1, description=f"{name}: {escape(run)}"),
        }
