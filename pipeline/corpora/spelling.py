"""How others spell emotions, and the names that one's own labels get."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

from pipeline.corpora.reading import Reading
from pipeline.corpora.votes import SPELLINGS
from pipeline.engine.files import replace_file
from pipeline.errors import InputError
from pipeline.manifest.row import EMOTIONS, suggestion

OPTION = "their names of emotions, e.g. ang:anger,xxx: (an empty name: no label)"


def spellings(given: str) -> dict[str, str]:
    """Return lower-case names -> names of the vocabulary: the usual ones, and those of an option ``theirs:ours,...``.

    >>> spellings("wut:anger,xxx:")["wut"], spellings("")["angry"]
    ('anger', 'anger')

    Raises:
        InputError: one of ours is none of the vocabulary.
    """
    spelt = dict(SPELLINGS)
    for pair in filter(None, given.split(",")):
        theirs, _, ours = (part.strip().lower() for part in pair.partition(":"))
        if ours and ours not in EMOTIONS:
            raise InputError(
                f"option emotions: {ours!r} is not one of {', '.join(EMOTIONS)}{suggestion(ours, EMOTIONS)}"
            )
        spelt[theirs] = ours
    return spelt


def note_strange(reading: Reading, strange: Counter[str]) -> None:
    """Say which names are no emotions, how often each stands, and how to map it."""
    for emotion, count in sorted(strange.items()):
        if count:
            reading.note(
                count,
                f"clips are called {emotion!r}, which is no emotion of the vocabulary ({', '.join(EMOTIONS)}): "
                f"unlabelled; map it with --option emotions={emotion}:NAME",
            )


def translate_manifest(manifest: Path, output: Path, *, emotions: str = "") -> dict[str, int]:
    """Write a manifest anew with its emotions in the one vocabulary; everything else stays as it is.

    Args:
        manifest: a CSV in UTF-8 with a column ``emotion``.
        output: CSV to write; may be the same file.
        emotions: further spellings, ``theirs:ours,...``; an empty name takes the label away.

    Returns:
        ``theirs -> ours`` and how many rows it changed.

    Raises:
        InputError: there is no such file or column, or names are left that nothing translates; nothing is written then.
    """
    if not manifest.is_file():
        raise InputError(f"{manifest}: there is no such manifest file")
    try:
        rows = list(csv.reader(io.StringIO(manifest.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{manifest}: this is not a CSV in UTF-8 ({error}); save it as CSV UTF-8") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if "emotion" not in header:
        raise InputError(f"{manifest} has no column 'emotion'")
    place, spelt = header.index("emotion"), spellings(emotions)
    changed: Counter[str] = Counter()
    strange: Counter[str] = Counter()
    for row in rows[1:]:
        theirs = row[place].strip().lower() if len(row) > place else ""
        if not theirs:
            continue
        if theirs not in spelt:
            strange[row[place].strip()] += 1
        elif spelt[theirs] != row[place]:
            changed[f"{row[place].strip()} -> {spelt[theirs] or '(no label)'}"] += 1
            row[place] = spelt[theirs]
    if strange:
        names = ", ".join(f"{name!r} ({count} rows){suggestion(name, EMOTIONS)}" for name, count in strange.items())
        raise InputError(
            f"{manifest}: nothing says what these are: {names}. Map them with --emotions NAME:ours (NAME: for no label)"
        )

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)

    replace_file(output, write)
    return dict(changed)
