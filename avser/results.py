"""Where results lie: a folder with a report, a git revision, a DVC experiment, or the workspace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trainer.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

WORKSPACE = "workspace"
TABLES = ("results.csv", "paired.csv", "finetune_runs.parquet", "predictions.parquet")
FILES = ("metrics.json", "pipeline.json", *TABLES)


@dataclass(frozen=True)
class Result:
    """A result that can be compared: its name, the folder of its report, and its parameters if they are known."""

    name: str
    folder: Path
    params: Mapping[str, Any] | None = None

    def table(self, name: str) -> pd.DataFrame | None:
        """Read one of `TABLES`; None where it is not there, as of a revision that DVC's cache no longer has."""
        from trainer.store import read_table

        try:
            return read_table(self.folder / name)
        except FileNotFoundError:
            return None

    def json(self, name: str) -> dict[str, Any]:
        """Read a JSON file; empty where it is not there."""
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{self.name}: {name} is not valid JSON: {error}") from None
        return value if isinstance(value, dict) else {}


@contextmanager
def opened(name: str, reports: Path) -> Iterator[Result]:
    """Find a result: a folder, a revision, an experiment, or the workspace.

    Args:
        name: of the result.
        reports: where reports lie in this project, relative to its root.

    Raises:
        InputError: there is nothing of that name, or no report in it.
    """
    if name == WORKSPACE:
        yield _with_report(Result(name, reports, _params(None)))
    elif Path(name).is_dir():
        yield _with_report(Result(name, Path(name)))
    else:
        revision = _revision(name)
        with TemporaryDirectory() as work:
            _fetch(revision, reports, Path(work))
            yield _with_report(Result(name, Path(work), _params(revision)))


def _with_report(result: Result) -> Result:
    if not any((result.folder / name).is_file() for name in ("metrics.json", "results.csv")):
        where = f"the folder {result.folder}" if Path(result.name).is_dir() or result.name == WORKSPACE else result.name
        raise InputError(
            f"no report in {where}: run `python -m trainer report`, and to keep it with a commit, "
            "`git add dvc.lock reports/metrics.json && git commit`"
        )
    return result


def _revision(name: str) -> str:
    """Return the commit of a git revision or DVC experiment."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import NoSCM, resolve_rev

    try:
        with Repo() as repo:
            if isinstance(repo.scm, NoSCM):
                raise InputError(f"{name} is no folder, and there is no git here: name two folders with reports")
            return resolve_rev(repo.scm, name)
    except DvcException:
        raise InputError(
            f"{name} is neither a folder nor a git revision or experiment of this project: `git log` and "
            "`dvc exp show --only-changed` list them"
        ) from None


def _fetch(revision: str, reports: Path, folder: Path) -> None:
    """Copy the files of a report out of git or DVC's cache; one that is in neither is left out."""
    from dvc.api import DVCFileSystem

    files = DVCFileSystem(rev=revision)
    for name in FILES:
        try:
            files.get_file(f"/{(reports / name).as_posix()}", str(folder / name))
        except OSError:
            (folder / name).unlink(missing_ok=True)


def _params(revision: str | None) -> Mapping[str, Any] | None:
    """Return the parameters of a revision, None where DVC knows none."""
    try:
        from dvc.api import params_show
        from dvc.exceptions import DvcException
    except ImportError:  # a machine that only trains: folders and the workspace can be compared all the same
        return None
    try:
        return params_show("params.yaml", rev=revision)
    except (DvcException, OSError):
        return None
