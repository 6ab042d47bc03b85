"""Finished work on disk: files and folders that appear whole, and the key that names what a result depends on."""

from __future__ import annotations

import ast
import errno
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# The folders whose code makes the numbers of a training. They import nothing of the trainer but each other, params,
# errors and this file (tests/test_walls.py), so their code and the parameters' values say all that a result depends on.
NUMBERS = ("data", "objectives", "models", "training", "pretraining", "finetuning")


SUMS = "SHA256SUMS"  # file of a sealed folder


def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a number."""
    return {name: importlib.metadata.version(name) for name in ("numpy", "pandas", "scikit-learn", "torch")}


def seal(folder: Path) -> None:
    """Write the checksums of all files in ``folder`` beside them; ``sha256sum -c SHA256SUMS`` reads them too."""
    lines = [f"{hash_file(folder / name)}  {name}\n" for name in _files(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def changed_files(folder: Path) -> list[str]:
    """Return the files of a sealed folder that are not as they were written; none of a folder without a seal."""
    sums = read_sums(folder / SUMS) if (folder / SUMS).is_file() else {}
    return [
        name for name, digest in sums.items() if not (folder / name).is_file() or hash_file(folder / name) != digest
    ]


def is_whole(folder: Path) -> bool:
    """Whether a folder is sealed and as it was written. What cannot be read is not: it is to be made again."""
    try:
        sums = read_sums(folder / SUMS)
        return bool(sums) and sorted(sums) == _files(folder) and not changed_files(folder)
    except (OSError, ValueError):
        return False


def read_sums(path: Path) -> dict[str, str]:
    """Checksums by file name, from a list as sha256sum writes it; ValueError if the list itself is damaged."""
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    pairs = (line.partition("  ") for line in lines)
    return {name: digest for digest, _, name in pairs}


def _files(folder: Path) -> list[str]:
    """Names of the files in a folder, but for its seal and what the desktop hides there."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != SUMS and not name.startswith("."))


def hash_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write into a new folder next to ``folder``, then rename it into place.

    A sealed folder that is there already with the same content stays: another command may be reading it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    old = work.with_name(work.name + "-old")
    try:
        work.chmod(0o755)  # mkdtemp is private; a model folder is not
        fill(work)
        if not (is_whole(work) and is_whole(folder) and read_sums(work / SUMS) == read_sums(folder / SUMS)):
            _rename_over(work, folder, old)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _rename_over(work: Path, folder: Path, old: Path) -> None:
    """Rename ``work`` to ``folder``, what is there to ``old``; another process may do the same at the same time."""
    while True:
        with suppress(FileNotFoundError):
            folder.rename(old)
        try:
            work.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            return


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
    """Write a table as a whole: CSV if the path ends in .csv, else Parquet with checksums; `read_table` reads both."""
    if Path(path).suffix == ".csv":
        replace_file(path, lambda work: as_text(table).to_csv(work, index=False))
    else:
        replace_file(path, lambda work: table.to_parquet(work, index=False, write_page_checksum=True))


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table of `write_table` back.

    Raises:
        FileNotFoundError: it is not there.
        InputError: it is damaged.
    """
    import pandas as pd
    from pyarrow import ArrowException

    try:
        if Path(path).suffix != ".csv":
            return pd.read_parquet(path, page_checksum_verification=True)
        return _changed(pd.read_csv(path), lambda cell: cell[1:] if _MARKED.match(cell) else cell)
    except (FileNotFoundError, PermissionError):
        raise
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): run the command that wrote it again") from None


_FORMULA = re.compile(r"'*[=+\-@\t]")
_MARKED = re.compile(r"'+[=+\-@\t]")


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Mark what a spreadsheet would run as a formula with an apostrophe: text that begins with = + - @ or tab.

    Numbers, also those written as text, stay as they are. A carriage return, which would end the row, becomes a space.
    """

    def mark(cell: str) -> str:
        return f"'{cell}" if _FORMULA.match(cell) and not _is_number(cell) else cell

    return _changed(table, lambda cell: mark(cell.replace("\r", " ")))


def _changed(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return the table with ``change`` made to every text in it, names of columns too."""
    result = table.rename(columns=lambda name: change(name) if isinstance(name, str) else name)
    for position, dtype in enumerate(table.dtypes):
        if str(dtype) in ("object", "str"):
            changed = table.iloc[:, position].map(lambda cell: change(cell) if isinstance(cell, str) else cell)
            result.isetitem(position, changed.array)
    return result


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def slug(name: str) -> str:
    """Make a name that is safe as a file name.

    >>> slug("my corpus/a")
    'my_corpus_a'
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:100] or "_"


def free_place(path: Path) -> Path:
    """Return ``path``, or with a number after its name if it is taken: two names can have one `slug`."""
    numbered = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in itertools.count(2))
    return path if not path.exists() else next(place for place in numbered if not place.exists())


def content_key(identity: Mapping[str, Any]) -> str:
    """Name a finished piece of work by all that its result depends on: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def is_done(finished: Path, key: str) -> bool:
    """Whether the run of this key has been made and is whole; ``finished``: the folder of finished runs."""
    return is_whole(finished / key)


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
