"""GRID: 34 talkers, 1000 six-word sentences each, filmed face on. No emotion; words with their times."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.base import (
    AUDIO,
    VIDEO,
    About,
    Corpus,
    Expected,
    Reading,
    find_files,
    first_of_each,
    nothing_found,
    read_text,
)
from pipeline.manifest.row import ManifestRow

_NAME = re.compile("[blps][bgrw][abiw][a-z][z1-9][anps]")
_WORDS: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},
    {
        "z": "zero",
        "1": "one",
        "2": "two",
        "3": "three",
        "4": "four",
        "5": "five",
        "6": "six",
        "7": "seven",
        "8": "eight",
        "9": "nine",
    },
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
TALKERS = tuple(f"s{number}" for number in range(1, 35))


class GridOptions(Config):
    """Options of ``grid``."""

    media: Literal["video", "audio"] = Field("video", description="which files: video or audio")


def sentence(name: str) -> str:
    """Return the sentence that a file name of GRID spells, a letter a word.

    >>> sentence("bbaf2n")
    'bin blue at f two now'
    """
    return " ".join(words.get(letter, letter) for letter, words in zip(name, _WORDS, strict=True))


def talker(path: str, root_name: str = "") -> str:
    """Return the talker's folder (``s1`` ... ``s34``) nearest to the file, or nothing.

    >>> talker("s1/video/mpg_6000/bbaf2n.mpg"), talker("mixed/bbaf2n.mpg"), talker("bbaf2n.mpg", "S7")
    ('s1', '', 's7')
    """
    for folder in [*reversed(PurePosixPath(path).parts[:-1]), root_name]:
        if re.fullmatch(r"s\d{1,2}", folder.lower()):
            return folder.lower()
    return ""


class Grid(Corpus[GridOptions]):
    """Films (or sound files) in talkers' folders; ``.align`` files beside them or in a tree of their own."""

    about = About(
        "GRID audiovisual sentence corpus",
        "https://zenodo.org/records/3625687",
        "free for research; see the terms on its page",
        "Cooke, Barker, Cunningham & Shao, J. Acoust. Soc. Am. 120 (2006)",
    )
    Options = GridOptions

    def read(self, root: Path) -> Reading:
        """Return a row a sentence; where no folder names the talker, each clip counts as its own."""
        reading = Reading()
        paths = find_files(root, VIDEO if self.options.media == "video" else AUDIO, reading)
        named = [path for path in paths if _NAME.fullmatch(PurePosixPath(path).stem.lower())]
        reading.left_out(set(paths) - set(named), "the name is not a GRID sentence such as bbaf2n")
        if not named:
            raise nothing_found("GRID", root, "s1/bbaf2n.mpg")
        here = root.resolve().name
        alignments: dict[tuple[str, str], str] = {}
        for path in find_files(root, {".align"}, reading):
            alignments.setdefault((talker(path, here) or str(PurePosixPath(path).parent), _stem(path)), path)

        def place(path: str) -> str:
            return talker(path, here) or str(PurePosixPath(path).parent)

        unnamed = 0
        for path in first_of_each(named, reading, key=lambda path: f"{place(path)}/{_stem(path)}"):
            who = talker(path, here)
            unnamed += not who
            alignment = alignments.get((place(path), _stem(path)), "")
            reading.rows.append(
                ManifestRow(
                    clip_id=f"grid_{place(path).replace('/', '_')}_{_stem(path)}".replace("#", "_"),
                    corpus="grid",
                    path=path,
                    speaker=who or f"clip:{place(path)}/{_stem(path)}",
                    sentence=_aligned_words(root / alignment) if alignment else sentence(_stem(path)),
                    alignment=alignment,
                    language="en",
                )
            )
        if unnamed:
            reading.notes.append(
                f"{unnamed} clips count as a talker each: no folder s1 ... s34 names theirs (one may count twice)"
            )
        return reading

    def expected(self) -> Expected:
        """Return 1000 sentences a talker; talker 21 was not filmed."""
        talkers = TALKERS if self.options.media == "audio" else tuple(t for t in TALKERS if t != "s21")
        return Expected(1000 * len(talkers), talkers)


def _stem(path: str) -> str:
    return PurePosixPath(path).stem.lower()


def _aligned_words(path: Path) -> str:
    fields = [line.split() for line in read_text(path).splitlines()]
    return " ".join(words[2] for words in fields if len(words) == 3 and words[2] not in ("sil", "sp"))
