"""Finished work on disk: files and folders that appear whole, and the key that names what a result depends on."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# The folders whose code makes the numbers of a training. They import nothing of the trainer but each other, params,
# errors and this file (tests/test_walls.py), so their code and the parameters' values say all that a result depends on.
NUMBERS = ("data", "objectives", "models", "training", "pretraining", "finetuning")


def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a number."""
    return {name: importlib.metadata.version(name) for name in ("numpy", "pandas", "scikit-learn", "torch")}


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write into a new folder next to ``folder``, then rename it into place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        work.chmod(0o755)  # mkdtemp is private; a model folder is not
        fill(work)
        if folder.exists():
            old = work.with_name(work.name + "-old")
            folder.rename(old)
            work.rename(folder)
            shutil.rmtree(old)
        else:
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def replace_file(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` produce a temporary file next to ``path``, then rename it into place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    work = Path(name)
    try:
        write(work)
        work.chmod(0o644)
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file as a whole."""

    def write(work: Path) -> None:
        work.write_text(text, encoding="utf-8")

    replace_file(path, write)


def write_json(path: Path, value: Any) -> None:
    """Readable JSON; refuses NaN, which is not JSON."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as a whole: CSV if the path ends in .csv, else Parquet."""
    write = table.to_csv if Path(path).suffix == ".csv" else table.to_parquet
    replace_file(path, lambda work: write(work, index=False))


def slug(name: str) -> str:
    """Make a name that is safe as a file name.

    >>> slug("my corpus/a")
    'my_corpus_a'
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "_"


def content_key(identity: Mapping[str, Any]) -> str:
    """Name a finished piece of work by all that its result depends on: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def is_done(finished: Path, key: str) -> bool:
    """Whether the run of this key has been trained; ``finished``: the folder of finished runs."""
    return (finished / key / "metrics.json").is_file()


@cache
def code_fingerprint(*more: str) -> str:
    """Hash the code that makes the numbers of a training; comments, docstrings and layout do not count.

    Args:
        more: folders of the trainer beside `NUMBERS` that count too, such as ``recipes/cluster``.

    Returns:
        64 hexadecimal digits.
    """
    root = Path(__file__).parent
    code = hashlib.sha256()
    for folder in (*NUMBERS, *more):
        for path in sorted((root / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                    del node.body[0]
            code.update(path.relative_to(root).as_posix().encode() + ast.dump(tree).encode())
    return code.hexdigest()
