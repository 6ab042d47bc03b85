"""Marks that tell which items have begun in a worker process, and whether a process that died had run out of time."""

from __future__ import annotations

import faulthandler
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.engine.store import Bucket

_STEP = 1.0  # s, in which object storages tell times


@dataclass(frozen=True)
class FileMarks:
    """Marks in a folder that the driver and the workers see."""

    folder: Path

    @contextmanager
    def attempt(self, key: str, *, timeout: float) -> Iterator[None]:
        """Mark an item as begun, for as long as this lasts; after ``timeout`` s the process ends itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mark = self.folder / key
        # A C-level watchdog: it ends the process even when native code holds the interpreter lock for ever, and says
        # so in the mark, which tells a hang from a crash afterwards.
        with mark.open("w", encoding="utf-8") as sink:
            faulthandler.dump_traceback_later(timeout, exit=True, file=sink)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
                mark.unlink(missing_ok=True)

    def began(self, key: str) -> bool:
        """Tell whether an item had begun and not ended when its process died."""
        return (self.folder / key).exists()

    def took_too_long(self, key: str, *, timeout: float, since: float = 0.0) -> bool:
        """Tell whether the watchdog ended the process of this item, ``since`` s ago."""
        mark = self.folder / key
        return mark.exists() and mark.read_text(encoding="utf-8", errors="replace").startswith("Timeout")

    def forget(self, key: str) -> None:
        """Remove the mark of an item that is tried again."""
        (self.folder / key).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all marks of the run."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class ObjectMarks:
    """Marks in an object storage: the watchdog cannot write there, so the age of a mark tells a hang from a crash."""

    bucket: Bucket
    folder: str

    @contextmanager
    def attempt(self, key: str, *, timeout: float) -> Iterator[None]:
        """Mark an item as begun, for as long as this lasts; after ``timeout`` s the process ends itself."""
        self.bucket.put(f"{self.folder}/{key}", b"begun")
        with Path(os.devnull).open("w", encoding="utf-8") as sink:
            faulthandler.dump_traceback_later(timeout, exit=True, file=sink)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
                self.bucket.remove(f"{self.folder}/{key}")

    def began(self, key: str) -> bool:
        """Tell whether an item had begun and not ended when its process died."""
        return self.bucket.has(f"{self.folder}/{key}")

    def took_too_long(self, key: str, *, timeout: float, since: float = 0.0) -> bool:
        """Tell whether an item whose process died ``since`` s ago had been at work for its whole time."""
        return self.began(key) and self.bucket.age(f"{self.folder}/{key}") - since >= timeout - _STEP

    def forget(self, key: str) -> None:
        """Remove the mark of an item that is tried again."""
        self.bucket.remove(f"{self.folder}/{key}")

    def clear(self) -> None:
        """Remove all marks of the run."""
        self.bucket.remove_all(self.folder)


Marks = FileMarks | ObjectMarks
