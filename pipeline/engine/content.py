"""What a file holds, by its SHA-256; and whether it is still what an item was planned with.

Hashing a film costs more than looking at it, so a process remembers the hash of a file for as long as the file system
says that it is the same: device, inode, size, and the times of the last change of content and of inode.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.errors import Transient

Signature = tuple[int, int, int, int, int]
# File systems tell times in steps of milliseconds to seconds; two changes within one step look like one.
CLOCK_STEP = 2_000_000_000  # ns


def signature(path: str | Path) -> Signature:
    """Return what the file system says of a file; any write, replacement or renaming changes it."""
    with Path(path).open("rb") as handle:  # opening makes a network file system look again
        found = os.fstat(handle.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hex, read in blocks."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache(maxsize=4096)
def known_hash(path: str, _seen: Signature) -> str:
    """Return `hash_file` of a file, remembered for as long as its `signature` stays."""
    return hash_file(path)


@dataclass(frozen=True)
class Source:
    """A media file, and the SHA-256 that its bytes had when the item was planned."""

    path: str
    content: str

    def check(self, *, anew: bool = False) -> Signature:
        """Return the signature of the file, which holds what was planned.

        Args:
            anew: read the whole file, whatever is remembered of it.

        Raises:
            Transient: it cannot be read, or holds something else by now.
        """
        try:
            seen = signature(self.path)
            fresh = anew or abs(time.time_ns() - seen[-1]) < CLOCK_STEP
            content = hash_file(self.path) if fresh else known_hash(self.path, seen)
        except OSError as error:
            raise Transient(f"cannot be read: {error.strerror or error}") from error
        if content != self.content:
            raise Transient("its content is not what the segments stage saw; run the segments stage again (dvc repro)")
        return seen

    def check_unchanged(self, before: Signature) -> None:
        """Make sure that nobody touched the file since `check` gave ``before``.

        Raises:
            Transient: somebody did, so nobody knows what was read.
        """
        if self.check() != before:
            raise Transient("was changed while it was read; run the stage again")
