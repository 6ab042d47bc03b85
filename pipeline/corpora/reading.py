"""What readers have in common: find the files, read what their names and tables say, note what is left out."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import InputError
from pipeline.manifest.row import UNPRINTABLE, ManifestRow, inside_root, printable

AUDIO = frozenset({".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac"})
VIDEO = frozenset({".mp4", ".mpg", ".mpeg", ".avi", ".mov", ".mkv", ".webm", ".flv", ".m4v", ".wmv"})
#: The suffixes that an option ``media`` stands for.
MEDIA = {"audio": AUDIO, "video": VIDEO, "all": AUDIO | VIDEO}

#: Path -> the groups of the pattern that the name matches.
Codes = dict[str, tuple[str, ...]]


def first_few(items: Iterable[str], limit: int = 5) -> str:
    """Return the first few items as text.

    >>> first_few("abc", 2)
    'a, b, ...'
    """
    listed = sorted(items)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


def stem(path: str) -> str:
    """Return a file's name without folders and suffix.

    >>> stem("wav/03a01Fa.wav")
    '03a01Fa'
    """
    return PurePosixPath(path).stem


@dataclass
class Reading:
    """The rows of a corpus, and what its reader has to say about them.

    Attributes:
        root: folder that holds the corpus.
        corpus: how its files are called in messages.
        example: a file as it lies below the root.
        rows: a row a clip, paths relative to the root.
        notes: what was left out or is missing, for people.
    """

    root: Path
    corpus: str
    example: str
    rows: list[ManifestRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, corpus: str, name: str, path: str, **columns: Any) -> None:
        """Add a row.

        Args:
            corpus: its short name.
            name: of the clip within the corpus; "#", which separates a clip from its segments, becomes "_".
            path: of the media file, relative to the root.
            columns: others of `ManifestRow`.
        """
        clip_id = f"{corpus}_{name}".replace("#", "_")
        self.rows.append(ManifestRow(clip_id=clip_id, corpus=corpus, path=path, **columns))

    def note(self, count: int, text: str) -> None:
        """Note that so many items are as the text says, if there are any."""
        if count:
            self.notes.append(f"{count} {text}")

    def left_out(self, items: Collection[str], why: str) -> None:
        """Note that some items were left out, naming the first few."""
        self.note(len(items), f"left out: {why} ({first_few(items)})")

    def nothing_found(self, example: str = "") -> InputError:
        """Return the error of a reader that found none of its files."""
        return InputError(
            f"no {self.corpus} files below {self.root}: looked for names such as {example or self.example}; "
            "is it the right --root?"
        )

    def files(self, suffixes: Collection[str], *, below: str = "") -> list[str]:
        """Return the files with one of ``suffixes`` (lower case): relative to the root, with ``/``, sorted.

        Hidden files and folders are passed over (macOS leaves ``._`` twins in archives), linked folders too.

        Args:
            suffixes: such as ``.wav``.
            below: a folder of the root to search instead of all of it.

        Raises:
            InputError: there is no such folder.
        """
        start = self.root / below
        if not start.is_dir():
            raise InputError(f"there is no folder {start}; give --root the folder that holds the corpus")
        found: list[str] = []
        strange: list[str] = []
        for folder, folders, names in os.walk(start):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            place = Path(folder).relative_to(self.root).as_posix()
            for name in names:
                if name.startswith(".") or os.path.splitext(name)[1].lower() not in suffixes:  # noqa: PTH122 - fast
                    continue
                path = name if place == "." else f"{place}/{name}"
                try:
                    found.append(inside_root(printable(path)))
                except ValueError:
                    strange.append(ascii(path))
        self.left_out(strange, "rename them: control characters, backslashes and 'x:' in front have no place in a path")
        return sorted(found)

    def match(
        self,
        paths: Iterable[str],
        pattern: re.Pattern[str],
        *,
        unmatched: str | None = None,
        text: Callable[[str], str] = stem,
    ) -> Codes:
        """Return what the names of files say: path to the groups of ``pattern``, for the names that match it.

        Args:
            paths: relative to the root.
            pattern: has to match the whole text.
            unmatched: the note on the other files; empty where such files are common and not worth one.
            text: what of a path has to match.

        Raises:
            InputError: no name matches.
        """
        matches = {path: pattern.fullmatch(text(path)) for path in paths}
        if unmatched != "":
            others = [path for path, match in matches.items() if not match]
            self.left_out(others, unmatched or f"the name is not {self.corpus}'s")
        codes = {path: match.groups() for path, match in matches.items() if match}
        if not codes:
            raise self.nothing_found()
        return codes

    def first_of_each(self, codes: Codes, key: Callable[[str], str] = stem) -> Codes:
        """Keep one file for each name, in case an archive holds the same recordings in two folders."""
        kept: dict[str, str] = {}
        for path in codes:
            kept.setdefault(key(path), path)
        first = set(kept.values())
        self.left_out([path for path in codes if path not in first], "the same name was found before")
        return {path: codes[path] for path in kept.values()}

    def table(self, *names: str) -> Path | None:
        """Return the first file below the root with one of these names, the shallowest first."""
        hits = sorted((p for name in names for p in self.root.rglob(name)), key=lambda p: (len(p.parts), str(p)))
        return hits[0] if hits else None


def read_text(path: Path) -> str:
    """Return a small text file of a corpus; some are in Latin-1.

    Raises:
        InputError: it is a Git-LFS pointer.
    """
    raw = path.read_bytes()
    if raw.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git-LFS pointer, not the table itself; run `git lfs pull` in its folder")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def read_csv(path: Path, delimiter: str = ",") -> csv.DictReader[str]:
    """Return a reader of a corpus's table; see ``read_text`` for errors."""
    return csv.DictReader(io.StringIO(read_text(path)), delimiter=delimiter)


def read_columns(path: Path, *columns: str, corpus: str) -> list[dict[str, str]]:
    """Return the named columns of a corpus's table, a dictionary a row, without blanks around the cells.

    Raises:
        InputError: a column is missing.
    """
    reader = read_csv(path)
    absent = sorted(set(columns) - set(reader.fieldnames or ()))
    if absent:
        raise InputError(f"{path}: no column {absent[0]!r}; is it {corpus}'s table?")
    return [{key: (record[key] or "").strip() for key in columns} for record in reader]


def one_line(text: str) -> str:
    """Return text without line breaks and repeated blanks, as a cell of a table holds it."""
    return " ".join(UNPRINTABLE.sub(" ", text).split())
