"""Files and folders that appear whole or not at all: written under a temporary name, synced, renamed."""

from __future__ import annotations

import ctypes
import filecmp
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.engine.storage import CLOSED, FULL, cannot_write

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary neighbour of ``path``, sync it, and rename it into place; permissions stay.

    Raises:
        InputError: the disk is full, read-only or closed.
    """
    temporary = _temporary(path)
    with _writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            _sync(temporary)
            if path.exists():
                shutil.copymode(path, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def replace_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill an empty neighbour of ``folder`` with files, sync them, and put it in the old one's place.

    A reader finds the old folder or the new one. A folder that would hold the same bytes again stays as it is.

    Raises:
        InputError: the disk is full, read-only or closed.
    """
    temporary = _temporary(folder)
    with _writing(folder.parent):
        temporary.mkdir(parents=True)
        try:
            write(temporary)
            for path in temporary.iterdir():
                _sync(path)
            if not _same(folder, temporary):
                _put(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all it holds, if there is any."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    with suppress(NotADirectoryError):  # a file where its folder should be: there is nothing to remove
        path.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary neighbours that killed runs left; only for who alone writes to ``path``."""
    for found in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(found, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with line feeds, atomically."""
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _temporary(path: Path) -> Path:
    # A name of its own for every writer: two of them never write into one file.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL | CLOSED:
            raise cannot_write(folder, error) from error
        raise


def _put(new: Path, folder: Path) -> None:
    """Rename ``new`` to ``folder``; afterwards ``new`` is the old one, if there was one."""
    if not folder.exists():
        with suppress(OSError):  # another writer was faster
            new.rename(folder)
            return
    if _exchange(new, folder):
        return
    shutil.rmtree(folder, ignore_errors=True)  # no exchange on this system: for a moment there is no folder
    new.rename(folder)


def _exchange(one: Path, other: Path) -> bool:
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _same(folder: Path, new: Path) -> bool:
    names = [path.name for path in new.iterdir()]
    if not folder.is_dir() or {path.name for path in folder.iterdir()} != set(names):
        return False
    return filecmp.cmpfiles(folder, new, names, shallow=False)[0] == names


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
