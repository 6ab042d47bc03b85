"""What all commands share: the terminal, options, progress, and mistakes as messages."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trainer.errors import InputError, Notice
from trainer.params import Params
from trainer.progress import steps

for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # a locale that is not UTF-8 has no "±"

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

_NUMERIC = re.compile(r"[-+]?[\d.\[]|-?$")  # a number, an interval, or nothing

# exit statuses
MACHINE, INPUT_MISTAKE, INTERRUPTED = 1, 2, 130


def named_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Show what goes wrong as one message without a traceback, and notices as lines.

    Exit status 2: a mistake in what was given; 1: a fault of the machine (disk, memory, permissions); 130: Ctrl-C.
    """

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = _shown(warnings.showwarning)
            try:
                command(*args, **kwargs)
            except InputError as error:
                _leave(str(error), INPUT_MISTAKE)
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] in {"", "trainer"}:
                    raise
                needs = "install what this command needs: pip install '.[trainer]' in the project's folder"
                _leave(f"the package {error.name} is not installed; {needs}", INPUT_MISTAKE)
            except KeyboardInterrupt:
                _leave("interrupted; finished runs are kept: the same command goes on from there", INTERRUPTED)
            except BrokenPipeError:  # the reader of our output has gone; typer ends quietly
                raise
            except OSError as error:
                _leave(f"the machine: {error}; finished runs are kept", MACHINE)
            except (MemoryError, RuntimeError) as error:
                words = ("out of memory", "can't allocate memory", "not enough memory")  # torch has no one class for it
                if isinstance(error, RuntimeError) and not any(word in str(error).lower() for word in words):
                    raise
                _leave("out of memory: take fewer --workers, a smaller batch_size or another device", MACHINE)

    return wrapped


def _leave(message: str, status: int) -> NoReturn:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    raise typer.Exit(status) from None


def _shown(usual: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a warning: notices as a line on the terminal, others as usual."""

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, Notice):
            Console(stderr=True).print(f"[bold yellow]note:[/] {escape(str(message))}", soft_wrap=True)
        else:
            usual(message, category, *rest, **more)

    return show


def cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def training_workers(asked: int, options: Params) -> int:
    """Return the number of training processes: as asked, or one a CPU and at most 8 (about 1 GB of memory each)."""
    if options.trainer.device == "cuda":
        return 1  # one accelerator: processes would only queue for it
    return asked if asked > 0 else min(8, max(1, cpus() // options.trainer.threads))


def narrow(rows: list[dict[str, str]]) -> Table:
    """Lay out rows of equal columns, narrow enough for 80 columns; numbers stand to the right."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in rows[0]:
        right = all(_NUMERIC.match(row[name]) for row in rows) and any(row[name] for row in rows)
        table.add_column(name, overflow="fold", justify="right" if right else "left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row.values()))
    return table


@contextmanager
def counted(name: str, *, cache: Path, workers: int) -> Iterator[dict[str, Any]]:
    """Show the progress of a command that does many runs, each reported by its name.

    Yields:
        The keyword arguments of the function behind the command: ``cache``, ``workers``, ``on_start(total, done)`` and
        ``on_run(name)``.
    """
    with steps(f"{name}: runs", console) as shown:
        yield {"cache": cache, "workers": workers, "on_start": shown.begin, "on_run": shown.step}
