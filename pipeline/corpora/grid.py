"""GRID: 34 talkers, 1000 six-word sentences each, filmed face on. No emotion; words with their times."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from pipeline.corpora.base import About, Corpus, Expected, VideoOptions
from pipeline.corpora.reading import MEDIA, Reading
from pipeline.engine.names import read_text

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


class Grid(Corpus[VideoOptions]):
    """Films (or sound files) in talkers' folders; ``.align`` files beside them or in a tree of their own."""

    about = About(
        "GRID audiovisual sentence corpus",
        "https://zenodo.org/records/3625687",
        "free for research; see the terms on its page",
        "Cooke, Barker, Cunningham & Shao, J. Acoust. Soc. Am. 120 (2006)",
    )
    name = "GRID"
    example = "s1/bbaf2n.mpg"
    Options = VideoOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a sentence; where no folder names the talker, each clip counts as its own."""
        here = reading.root.resolve().name

        def place(path: str) -> str:
            return f"{talker(path, here) or PurePosixPath(path).parent}/{_stem(path)}"

        paths = reading.files(MEDIA[self.options.media])
        codes = reading.match(paths, _NAME, unmatched="the name is not a GRID sentence such as bbaf2n", text=_stem)
        alignments: dict[str, str] = {}
        for path in reading.files({".align"}):
            alignments.setdefault(place(path), path)
        unnamed = 0
        for path in reading.first_of_each(codes, place):
            who = talker(path, here)
            unnamed += not who
            alignment = alignments.get(place(path), "")
            reading.add(
                "grid",
                place(path).replace("/", "_"),
                path,
                speaker=who or f"clip:{place(path)}",
                sentence=_aligned_words(reading.root / alignment) if alignment else sentence(_stem(path)),
                alignment=alignment,
                language="en",
            )
        reading.note(unnamed, "clips count as a talker each: no folder s1 ... s34 names theirs (one may count twice)")

    def expected(self) -> Expected:
        """Return 1000 sentences a talker; talker 21 was not filmed."""
        talkers = TALKERS if self.options.media == "audio" else tuple(t for t in TALKERS if t != "s21")
        return Expected(1000 * len(talkers), talkers)


def _stem(path: str) -> str:
    return PurePosixPath(path).stem.lower()


def _aligned_words(path: Path) -> str:
    fields = [line.split() for line in read_text(path).splitlines()]
    return " ".join(words[2] for words in fields if len(words) == 3 and words[2] not in ("sil", "sp"))
