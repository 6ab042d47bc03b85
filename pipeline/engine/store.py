"""The place that all machines of a run share: small pieces of content under names, each there whole or not at all.

It is a folder, or a prefix of an object storage that fsspec knows.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.engine.files import remove, replace_file
from pipeline.engine.storage import REMEDY
from pipeline.errors import InputError


class _Waiting:
    """What both kinds of places do."""

    def get(self, name: str) -> bytes | None:
        raise NotImplementedError

    def wait_for(self, name: str, *, seconds: float) -> bytes | None:
        """Return the content of this name as soon as it is seen: a network file system may take a while.

        Returns:
            None where it is not seen ``seconds`` later.
        """
        end = time.monotonic() + seconds
        while (found := self.get(name)) is None and time.monotonic() < end:
            time.sleep(0.1)
        return found


@dataclass(frozen=True)
class Folder(_Waiting):
    """A folder, of this machine or of a network file system.

    Attributes:
        root: absolute, since a worker of a remote cluster was started in a folder of its own.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).absolute())

    def __str__(self) -> str:
        return str(self.root)

    def path(self, name: str) -> Path:
        """Return where the content of this name lies or would lie."""
        return self.root / name

    def put(self, name: str, content: bytes) -> None:
        """Store ``content``, in the place of whatever lies there.

        Raises:
            InputError: the disk is full, read-only or closed.
        """
        path = self.path(name)
        if path.is_dir():
            remove(path)
        folder = path.parent  # unlink, since another process may make the folder in the meantime
        if folder != self.root and os.path.lexists(folder) and not folder.is_dir():
            with suppress(OSError):  # what that leaves is said by the next line
                folder.unlink()
        replace_file(path, lambda temporary: temporary.write_bytes(content))

    def get(self, name: str) -> bytes | None:
        """Return the content of this name, None where there is none that can be read."""
        try:
            return self.path(name).read_bytes()
        except OSError:
            return None

    def remove_all(self, name: str) -> None:
        """Remove what lies below this name, as far as that works."""
        shutil.rmtree(self.path(name), ignore_errors=True)


@dataclass(frozen=True)
class Bucket(_Waiting):
    """A prefix of an object storage; every method raises InputError where it does not answer or refuses.

    Attributes:
        url: as fsspec writes it, ``s3://bucket/prefix``. Credentials come from where the storage's library looks.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def put(self, name: str, content: bytes) -> None:
        """Store ``content``; readers see the old or the new."""
        with self._reached("be written to"):
            _open(self.url).pipe_file(self._path(name), content)

    def get(self, name: str) -> bytes | None:
        """Return the content of this name, None where there is none."""
        return self.get_many([name]).get(name)

    def get_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of those names that there are; they are fetched side by side."""
        paths = {self._path(name): name for name in names}
        with self._reached("be read"):
            found = _open(self.url).cat(list(paths), on_error="return") if names else {}
            if isinstance(found, bytes | Exception):  # of one name some file systems return the content alone
                found = dict.fromkeys(paths, found)
            for content in found.values():
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
        return {paths[path]: content for path, content in found.items() if isinstance(content, bytes)}

    def has(self, name: str) -> bool:
        """Return whether something lies under this name."""
        with self._reached("be read"):
            return bool(_open(self.url).exists(self._path(name)))

    def age(self, name: str) -> float:
        """Return how many seconds ago, by the storage's own clock, what lies under this name was put there."""
        with self._reached("be read"):
            now, files = f"{name}.now", _open(self.url)
            self.put(now, b"-")
            found = files.modified(self._path(now)) - files.modified(self._path(name))
            files.rm_file(self._path(now))
            return float(found.total_seconds())

    def remove(self, name: str) -> None:
        """Remove what lies under this name, if anything does."""
        with self._reached("be written to"), suppress(FileNotFoundError):
            _open(self.url).rm_file(self._path(name))

    def remove_all(self, name: str) -> None:
        """Remove what lies below this name, as far as that works."""
        with suppress(Exception):
            _open(self.url).rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{_root(self.url)}/{name}"

    @contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # each storage's library has errors of its own
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"run.cache: {self.url} cannot {what} ({said}): check name, credentials and network. {REMEDY}"
            ) from error


def check_bucket(bucket: Bucket) -> None:
    """Make sure, before any work, that a bucket can be written to and read.

    Raises:
        InputError: it cannot.
    """
    name, content = f"attempts/{uuid.uuid4().hex}", b"token"
    bucket.put(name, content)
    if bucket.get(name) != content:
        raise InputError(f"run.cache: {bucket} does not give back what was written to it. {REMEDY}")
    bucket.remove(name)


@cache
def _open_in(url: str, _process: int) -> tuple[Any, str]:
    import fsspec

    try:
        # No listings are remembered: other machines write there.
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        extra = "pip install '.[s3]' in the project's folder" if url.startswith("s3") else "install it"
        raise InputError(f"run.cache: {url} needs a package that is not installed ({error}): {extra}") from error
    except ValueError as error:
        raise InputError(
            f"run.cache: {url} is no place that fsspec knows ({error}); s3://bucket/prefix is one"
        ) from error
    return files, root.rstrip("/")


def _open(url: str) -> Any:
    return _open_in(url, os.getpid())[0]


def _root(url: str) -> str:
    return _open_in(url, os.getpid())[1]
