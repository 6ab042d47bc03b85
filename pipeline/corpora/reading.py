"""What readers have in common: find the files, read what their names and tables say, note what is left out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.corpora.listing import Listing, list_files
from pipeline.errors import InputError
from pipeline.manifest.row import UNPRINTABLE, ManifestRow, inside_root, printable
from pipeline.media.files import AUDIO, VIDEO

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


def suffix(path: str) -> str:
    """Return how a file's name ends, lower case.

    >>> suffix("a.b/CLIP.MTS"), suffix("a.b/clip")
    ('.mts', '')
    """
    return PurePosixPath(path).suffix.lower()


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
    _named: dict[int, str] = field(default_factory=dict)  # position of a row -> the name that its id was made from
    _listings: dict[str, Listing] = field(default_factory=dict)

    def add(self, corpus: str, name: str, path: str, **columns: Any) -> None:
        """Add a row.

        Args:
            corpus: its short name.
            name: of the clip, from names of files; "#", which separates a clip from its segments, becomes "_".
            path: of the media file, relative to the root.
            columns: others of `ManifestRow`.
        """
        self.add_row(f"{corpus}_{name}", corpus=corpus, path=path, **columns)

    def add_row(self, name: str, **columns: Any) -> None:
        """Add a row whose clip id is made from ``name`` as in `add`, without the corpus in front."""
        self._named[len(self.rows)] = name
        self.rows.append(ManifestRow(clip_id=name.replace("#", "_"), **columns))

    def tell_apart(self) -> None:
        """Give files whose names make the same clip id (``take#1`` beside ``take_1``) ids that differ."""
        same: dict[str, list[int]] = defaultdict(list)
        for position in self._named:
            same[self.rows[position].clip_id].append(position)
        changed = []
        for clip_id, positions in list(same.items()):
            # The file that is called so keeps the id.
            positions.sort(key=lambda position: (self._named[position] != clip_id, self.rows[position].path))
            free = (other for number in count(2) if (other := f"{clip_id}~{number}") not in same)
            for position, other in zip(positions[1:], free, strict=False):
                same[other] = []
                self.rows[position] = self.rows[position].model_copy(update={"clip_id": other})
                changed.append(self.rows[position].path)
        self.note(len(changed), f"ids end in '~2' and so on, as names of files make the same id ({first_few(changed)})")

    def note(self, number: int, text: str) -> None:
        """Note that so many items are as the text says, if there are any."""
        if number:
            self.notes.append(f"{number} {text}")

    def left_out(self, items: Collection[str], why: str) -> None:
        """Note that some items were left out, naming the first few."""
        self.note(len(items), f"left out: {why} ({first_few(items)})")

    def nothing_found(self, example: str = "") -> InputError:
        """Return the error of a reader that found none of its files."""
        return InputError(
            f"no {self.corpus} files below {self.root}: looked for names such as {example or self.example}; "
            + "; ".join(["is it the right --root?", *self.notes])
        )

    def listing(self, below: str = "") -> Listing:
        """Return what lies below a folder of the root, and note what is passed over.

        Raises:
            InputError: there is no such folder.
        """
        start = self.root / below
        if not start.is_dir():
            raise InputError(f"there is no folder {start}; give --root the folder that holds the corpus")
        if below not in self._listings:
            listing = self._listings[below] = list_files(self.root, below)
            for items, why in (
                (listing.hidden, "hidden files and folders"),
                (listing.closed, "folders that may not be read; ask for access"),
                (listing.outside, "links to folders outside the root; give a --root that holds both, or mount them"),
                (listing.again, "links to folders that are listed already"),
            ):
                self.left_out(items, why)
        return self._listings[below]

    def files(self, suffixes: Collection[str], *, below: str = "") -> list[str]:
        """Return the files with one of ``suffixes`` (lower case): relative to the root, with ``/``, sorted.

        Args:
            suffixes: such as ``.wav``.
            below: a folder of the root to search instead of all of it.

        Raises:
            InputError: there is no such folder.
        """
        found: list[str] = []
        strange: list[str] = []
        for path in self.listing(below).files:
            if suffix(path) in suffixes:
                try:
                    found.append(inside_root(printable(path)))
                except ValueError:
                    strange.append(ascii(path))
        self.left_out(strange, "rename them: control characters, backslashes and 'x:' in front have no place in a path")
        return found

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
        hits = [path for path in self.listing().files if path.rpartition("/")[2] in names]
        return self.root / min(hits, key=lambda path: (path.count("/"), path)) if hits else None


def one_line(text: str) -> str:
    """Return text without line breaks and repeated blanks, as a cell of a table holds it."""
    return " ".join(UNPRINTABLE.sub(" ", text).split())
