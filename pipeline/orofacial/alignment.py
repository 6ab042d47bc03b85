"""When words and phones are spoken: GRID's ``.align``, the transcripts of LRS, and Praat's ``.TextGrid``.

A TextGrid is what forced aligners write (the Montreal Forced Aligner among them), and the only one of the three that
gives the times of phones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.engine.names import locate, read_text
from pipeline.errors import InputError

UNITS_PER_SECOND = 25_000  # of GRID's .align files: 1000 are one frame of its films
_LRS_HEADER = "WORD START END"


class Span(NamedTuple):
    """A word or phone from ``start`` to ``end``, s."""

    start: float
    end: float
    name: str


class Alignment(NamedTuple):
    """Words in lower case and phones as they are written, in s from the clip's start; either may be empty."""

    words: list[Span]
    phones: list[Span]


def read_alignment(path: Path) -> Alignment:
    """Return what an alignment says; its suffix names the format (``.align``, ``.txt`` of LRS, ``.TextGrid``).

    Raises:
        InputError: the file is missing, of another format, or its times do not rise.
    """
    path = locate(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: an alignment is {', '.join(_READERS)} (LRS: .txt); correct the manifest")
    try:
        alignment = reader(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: alignment cannot be read ({error}); correct the manifest's column alignment"
        ) from None
    for spans in alignment:
        for before, span in zip([Span(0.0, 0.0, ""), *spans], spans, strict=False):
            if span.end < span.start or span.start < before.end:
                raise InputError(
                    f"{path}: {span.name!r} at {span.start:g} s ends before it begins, or begins before the last ends"
                )
    return alignment


def _words(
    path: Path, lines: Sequence[str], parse: Callable[[list[str]], Span], *, expected: str, first: int = 1
) -> Alignment:
    """Return the words of the lines, the first of which has the number ``first``; blank lines are passed over."""
    words: list[Span] = []
    for number, line in enumerate(lines, start=first):
        if fields := line.split():
            try:
                words.append(parse(fields))
            except (ValueError, IndexError):
                raise InputError(f"{path}, line {number}: {line!r} is not {expected}") from None
    return Alignment(words, [])


def _grid(path: Path) -> Alignment:
    """Begin, end, word."""

    def parse(fields: list[str]) -> Span:
        begin, end, name = fields
        return Span(int(begin) / UNITS_PER_SECOND, int(end) / UNITS_PER_SECOND, name.lower())

    lines = read_text(path).splitlines()
    return _words(path, lines, parse, expected="'begin end word' (1/25000 s)")


def _lrs(path: Path) -> Alignment:
    """Below a header line: word, start, end, a score."""

    def parse(fields: list[str]) -> Span:
        return Span(float(fields[1]), float(fields[2]), fields[0].lower())

    lines = read_text(path).splitlines()
    header = next((number for number, line in enumerate(lines) if line.startswith(_LRS_HEADER)), None)
    if header is None:
        raise InputError(f"{path}: no line {_LRS_HEADER!r}, so this transcript of LRS has no times")
    return _words(path, lines[header + 1 :], parse, expected="'word start end' (s)", first=header + 2)


def _textgrid(path: Path) -> Alignment:
    """Tiers whose names end in "words" and "phones", as in "words" or "speaker - phones"."""
    from praatio import textgrid

    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    except OSError:
        raise
    except Exception as error:  # whatever its parser stumbles over
        raise InputError(f"{path}: no TextGrid that praatio can read ({error}); save it again with Praat") from None
    tiers: dict[str, list[Span]] = {"word": [], "phone": []}
    for tier in grid.tiers:
        kind = tier.name.lower().rpartition(" ")[2].removesuffix("s")
        if kind in tiers and isinstance(tier, textgrid.IntervalTier) and not tiers[kind]:
            tiers[kind] = [Span(float(start), float(end), label.strip()) for start, end, label in tier.entries]
    if not any(tiers.values()):
        raise InputError(f"{path}: no interval tier 'phones' or 'words' among {', '.join(grid.tierNames) or 'none'}")
    words = [Span(start, end, name.lower() or "sil") for start, end, name in tiers["word"]]
    return Alignment(words, tiers["phone"])


_READERS: dict[str, Callable[[Path], Alignment]] = {".align": _grid, ".txt": _lrs, ".textgrid": _textgrid}
