"""What every corpus reader shares: its interface, the search for media files, the count against what was published."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar, Generic, TypeVar

from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.manifest.row import UNPRINTABLE, ManifestRow, inside_root, printable

AUDIO = frozenset({".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac"})
VIDEO = frozenset({".mp4", ".mpg", ".mpeg", ".avi", ".mov", ".mkv", ".webm", ".flv", ".m4v", ".wmv"})

O = TypeVar("O", bound=Config)  # noqa: E741 - the options of one corpus


@dataclass(frozen=True)
class About:
    """Where a corpus comes from and on what terms."""

    title: str
    source: str
    terms: str
    cite: str


@dataclass(frozen=True)
class Expected:
    """What was published: number of clips, and the speakers by name or by number; None where it varies."""

    clips: int | None = None
    speakers: Collection[str] | int | None = None


@dataclass
class Reading:
    """The rows of a corpus, and what its reader has to say about them."""

    rows: list[ManifestRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def left_out(self, items: Collection[str], why: str) -> None:
        """Note that some items were left out, naming the first few."""
        if items:
            self.notes.append(f"{len(items)} left out: {why} ({some(items)})")


class Corpus(ABC, Generic[O]):
    """Reads one corpus as it lies on disk after unpacking; ``paths`` of rows are relative to the root."""

    about: ClassVar[About]
    Options: ClassVar[type[Config]] = Config

    def __init__(self, options: O) -> None:
        self.options = options

    @abstractmethod
    def read(self, root: Path) -> Reading:
        """Return a row for every clip found. Raises ``InputError`` if this is not such a corpus."""

    def expected(self) -> Expected:
        """Return the published counts that hold for these options."""
        return Expected()


def some(items: Iterable[str], limit: int = 5) -> str:
    """Return the first few items as text.

    >>> some("abc", 2)
    'a, b, ...'
    """
    listed = sorted(items)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


def find_files(root: Path, suffixes: Collection[str], reading: Reading) -> list[str]:
    """Return the files with one of ``suffixes`` (lower case) below ``root``: relative, with ``/``, sorted.

    Hidden files and folders are passed over (macOS leaves ``._`` twins in archives), linked folders too.
    Raises ``InputError`` if the root is no folder.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give --root the folder that holds the corpus")
    found: list[str] = []
    strange: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(root).as_posix()
        for name in names:
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in suffixes:  # noqa: PTH122 - fast
                continue
            path = name if below == "." else f"{below}/{name}"
            try:
                found.append(inside_root(printable(path)))
            except ValueError:
                strange.append(ascii(path))
    reading.left_out(strange, "rename them: control characters, backslashes and 'x:' in front have no place in a path")
    return sorted(found)


def first_of_each(paths: Sequence[str], reading: Reading, key: Callable[[str], str] | None = None) -> list[str]:
    """Keep one file for each name, in case an archive holds the same recordings in two folders."""
    kept: dict[str, str] = {}
    again: list[str] = []
    for path in paths:
        name = key(path) if key else PurePosixPath(path).stem
        if kept.setdefault(name, path) != path:
            again.append(path)
    reading.left_out(again, "the same name was found before")
    return list(kept.values())


def nothing_found(name: str, root: Path, example: str) -> InputError:
    """Return the error of a reader that found none of its files."""
    return InputError(f"no {name} files below {root}: looked for names such as {example}; is it the right --root?")


def read_text(path: Path) -> str:
    """Return a small text file of a corpus; some are in Latin-1.

    Raises ``InputError`` if it is a Git-LFS pointer.
    """
    raw = path.read_bytes()
    if raw.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git-LFS pointer, not the table itself; run `git lfs pull` in its folder")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def find_table(root: Path, *names: str) -> Path | None:
    """Return the first file below ``root`` with one of these names, the shallowest first."""
    hits = sorted((p for name in names for p in root.rglob(name)), key=lambda p: (len(p.parts), str(p)))
    return hits[0] if hits else None


def one_line(text: str) -> str:
    """Return text without line breaks and repeated blanks, as a cell of a table holds it."""
    return " ".join(UNPRINTABLE.sub(" ", text).split())


def compare(expected: Expected, rows: Sequence[ManifestRow]) -> list[str]:
    """Return what is missing, or too much, beside the published counts."""
    notes = []
    if expected.clips is not None and len(rows) != expected.clips:
        differ = expected.clips - len(rows)
        what = f"{differ} missing" if differ > 0 else f"{-differ} more than published"
        notes.append(f"{len(rows)} of {expected.clips} published clips: {what}")
    # Names with a colon are pseudo speakers, made up where the corpus does not say who speaks.
    speakers = {row.speaker for row in rows if ":" not in row.speaker}
    if isinstance(expected.speakers, int):
        if len(speakers) != expected.speakers:
            notes.append(f"{len(speakers)} of {expected.speakers} published speakers")
    elif expected.speakers is not None:
        missing = [name for name in expected.speakers if name not in speakers]
        if missing:
            first = ", ".join(missing[:12]) + (", ..." if len(missing) > 12 else "")
            notes.append(f"{len(missing)} of {len(expected.speakers)} published speakers have no clip: {first}")
        if unknown := speakers - set(expected.speakers):
            notes.append(f"speakers that are not among the published ones: {some(unknown)}")
    return notes
