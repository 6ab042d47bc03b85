"""The manifest: one CSV row a clip says what goes in, who speaks, and what is known about it.

Two kinds of wrong input are kept apart. What makes the whole table meaningless (unreadable, a wrong column, a
speaker on both sides of a split) raises ``InputError``. What spoils one row only (a bad number, a path outside
the root, an id used twice) becomes a ``Problem``, and the other rows go on.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from pipeline.errors import InputError
from pipeline.manifest.row import (
    COLUMNS,
    EMOTIONS,
    LABEL_RULES,
    LABEL_SOURCES,
    NUMBERS,
    REQUIRED,
    SPLITS,
    UNPRINTABLE,
    ManifestRow,
    suggestion,
)

__all__ = [
    "COLUMNS",
    "EMOTIONS",
    "LABEL_RULES",
    "LABEL_SOURCES",
    "REQUIRED",
    "SPLITS",
    "ManifestRow",
    "Problem",
    "check_manifest",
    "check_protocol",
    "read_manifest",
    "read_rows",
    "write_manifest",
]

#: Written even when empty: the row's identity and its place in a protocol.
LEADING = (*REQUIRED, "split", "fold")
_VERBATIM = ("path", "alignment")  # a file name may begin or end with a space
_WIDTH = ""  # under this key, a row read from the file carries what is wrong with its number of fields


@dataclass(frozen=True)
class Problem:
    """One row that cannot be used. ``clip_id`` is unique among all rows, so that the row can be listed."""

    row: int  #: as a spreadsheet counts: the header is row 1
    column: str  #: the first column at fault; empty when it is the row as a whole
    clip_id: str
    message: str  #: names the row and every fault, each with its remedy
    cells: Mapping[str, str]  #: the row as it was written


def check_manifest(path: Path, root: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Read a manifest and sort its rows into usable ones and problems.

    Returns the usable rows (index ``row`` as a spreadsheet counts; missing where nothing is known; ``votes_*``
    columns are there only if any row has one), and one ``Problem`` for each other row. Whether the media files
    exist is left to the stage that opens them.

    Raises ``InputError`` where the table as a whole is wrong: file missing or not CSV, unknown or missing column,
    no rows, the root is no folder, a speaker in two splits or two folds, label sources or rules mixed in a corpus.
    """
    if not Path(root).is_dir():
        raise InputError(f"{path}: the root {root} is not a folder; set the root to where the media files lie")
    good: dict[int, ManifestRow] = {}
    problems: list[Problem] = []
    link_fault = _link_check(Path(root))
    table = _read_table(Path(path))
    first_use: dict[str, int] = {}
    for number, cells in table.items():
        first_use.setdefault(cells.get("clip_id", ""), number)
    for number, cells in table.items():
        parsed, column, faults = _parse_row(cells)
        if parsed is not None:
            for name in _VERBATIM:
                if fault := link_fault(getattr(parsed, name)):
                    column = column or name
                    faults.append(f"{name}: {fault}")
        clip_id = cells.get("clip_id", "")
        if clip_id and first_use[clip_id] != number:
            column = column or "clip_id"
            faults.append(f"clip_id {clip_id!r} is already used in row {first_use[clip_id]}; give each clip its own")
        if faults or parsed is None:
            message = f"row {number}: {'; '.join(faults)}"
            problems.append(Problem(number, column, _listing_id(clip_id, number, first_use), message, cells))
        else:
            good[number] = parsed
    check_protocol({f"row {number}": row for number, row in good.items()}, where=str(path))
    return _to_frame(good), problems


def read_manifest(path: Path, *, root: Path) -> pd.DataFrame:
    """Read a manifest that must be right in every row; see ``check_manifest`` for the table.

    Raises ``InputError`` that lists the first ten problems.
    """
    frame, problems = check_manifest(path, root)
    _refuse(path, [problem.message for problem in problems])
    return frame


def read_rows(path: Path) -> list[ManifestRow]:
    """Read a manifest's rows without looking at any media file or root.

    Raises ``InputError`` for a wrong table or any wrong row.
    """
    rows: list[ManifestRow] = []
    messages: list[str] = []
    for number, cells in _read_table(Path(path)).items():
        parsed, _, faults = _parse_row(cells)
        if parsed is None:
            messages.append(f"row {number}: {'; '.join(faults)}")
        else:
            rows.append(parsed)
    _refuse(path, messages)
    return rows


def write_manifest(rows: Iterable[ManifestRow], path: Path) -> None:
    """Write rows, sorted by corpus and clip_id, with the optional columns that any row fills.

    The file appears at once or not at all. Raises ``InputError`` for an id used twice.
    """
    ordered = sorted(rows, key=lambda row: (row.corpus, row.clip_id))
    counts: dict[str, int] = {}
    for row in ordered:
        counts[row.clip_id] = counts.get(row.clip_id, 0) + 1
    twice = [clip_id for clip_id, count in counts.items() if count > 1]
    if twice:
        raise InputError(f"{path}: {len(twice)} clip ids would be written twice, the first is {twice[0]!r}")
    columns = [n for n in COLUMNS if n in LEADING or any(getattr(row, n) not in ("", None) for row in ordered)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(getattr(row, name)) for name in columns] for row in ordered)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text.getvalue())
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def check_protocol(rows: Mapping[str, ManifestRow], *, where: str) -> None:
    """Refuse what would make results meaningless: leaking speakers, label sources or rules mixed in one corpus.

    ``rows`` are keyed by what to call them. Raises ``InputError`` that names the speaker or the corpus.
    """
    for column in ("split", "fold"):
        leaks = _conflicts(rows, lambda row: (row.corpus, row.speaker), column)
        for (corpus, speaker), found in leaks.items():
            more = f" ({len(leaks)} speakers do so)" if len(leaks) > 1 else ""
            raise InputError(
                f"{where}: speaker {speaker!r} of {corpus} is in {column} {found}{more}; a speaker heard in training "
                f"makes the test meaningless. Give each speaker one {column}, or leave the column empty"
            )
    for column in ("label_source", "label_rule"):
        for corpus, found in _conflicts(rows, lambda row: row.corpus, column).items():
            raise InputError(f"{where}: {corpus} mixes the {column} {found}; make one manifest for each")


def _conflicts(rows: Mapping[str, ManifestRow], key: Callable[[ManifestRow], Any], column: str) -> dict[Any, str]:
    """Return, for each key whose rows differ in ``column``, its values and where each is first found."""
    seen: dict[Any, dict[str, str]] = {}
    for name, row in rows.items():
        if value := getattr(row, column):
            seen.setdefault(key(row), {}).setdefault(value, name)
    return {
        group: " and ".join(f"{value!r} ({name})" for value, name in places.items())
        for group, places in seen.items()
        if len(places) > 1
    }


def _link_check(root: Path) -> Callable[[str], str]:
    """Return a function that tells whether a path below ``root`` is, or passes through, a link out of it."""
    real_root = root.resolve()
    real_folders: dict[Path, Path] = {}  # a corpus has many files in few folders: resolve each folder once

    def fault(path: str) -> str:
        target = root / path
        try:
            if target.parent not in real_folders:
                real_folders[target.parent] = target.parent.resolve()
            real = target.resolve() if target.is_symlink() else real_folders[target.parent] / target.name
        except (OSError, RuntimeError) as error:  # a name too long for the system, a link to itself
            reason = getattr(error, "strerror", None) or "a link to itself"
            return f"{path[:80]!r} cannot be followed ({reason}); correct the path"
        if not real.is_relative_to(real_root):
            return f"{path!r} is a link that leads outside the root {root}; choose a root that holds both"
        return ""

    return fault


def _read_table(path: Path) -> dict[int, dict[str, str]]:
    """Return the non-empty rows as text, keyed by spreadsheet row; only the columns that hold something."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such manifest file; make one with `python -m pipeline manifest`")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: this is not a text file in UTF-8 ({error.reason}); save it as CSV UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}: this is not CSV ({error}); save it as comma-separated CSV UTF-8") from None
    header = [name.strip() for name in records[0]] if records else []
    if not any(header):
        raise InputError(f"{path}: the first row is empty; it must name the columns {', '.join(REQUIRED)}, ...")
    if len(header) == 1 and re.search("[;\t]", header[0]):
        raise InputError(f"{path}: the columns are not separated by commas; save it as comma-separated CSV")
    for position, name in enumerate(header, start=1):
        if name not in COLUMNS:
            hint = suggestion(name, COLUMNS)
            raise InputError(
                f"{path}, row 1: unknown column {name!r} (column {position}){hint}. Known: {', '.join(COLUMNS)}"
            )
        if header.index(name) != position - 1:
            raise InputError(f"{path}, row 1: column {name!r} appears twice; keep one")
    for name in REQUIRED:
        if name not in header:
            raise InputError(f"{path}, row 1: column {name!r} is missing; every row needs {', '.join(REQUIRED)}")
    table: dict[int, dict[str, str]] = {}
    for number, record in enumerate(records[1:], start=2):
        if not any(cell.strip() for cell in record):
            continue
        cells = zip(header, record, strict=False)
        table[number] = {n: c if n in _VERBATIM else c.strip() for n, c in cells if c.strip()}
        if len(record) != len(header):
            table[number][_WIDTH] = (
                f"it has {len(record)} fields, the header {len(header)}; put a text with commas in quotes"
            )
    if not table:
        raise InputError(f"{path}: there is a header but no row; add a row for each clip")
    return table


def _parse_row(cells: Mapping[str, str]) -> tuple[ManifestRow | None, str, list[str]]:
    """Return the row, or else the first column at fault and what is wrong with each."""
    if _WIDTH in cells:
        return None, "", [cells[_WIDTH]]
    try:
        return ManifestRow.model_validate(dict(cells)), "", []
    except ValidationError as error:
        faults: dict[str, str] = {}
        for detail in error.errors(include_url=False):
            column = str(detail["loc"][0]) if detail["loc"] else "end"
            faults[column] = _explain(detail["type"], detail["msg"], detail["input"])
        first = min(faults, key=COLUMNS.index)
        return None, first, [f"{column}: {fault}" for column, fault in faults.items()]


def _explain(kind: str, message: str, given: Any) -> str:
    if kind == "missing":
        return "it is empty; every row needs it"
    if kind == "float_parsing":
        return f"{given!r} is not a number; write it with a point, e.g. 1.5"
    if kind == "greater_than_equal":
        return f"{given!r} is less than 0"
    if kind == "finite_number":
        return f"{given!r} is not a finite number; leave it empty if it is not known"
    return message.removeprefix("Value error, ")


def _listing_id(clip_id: str, row: int, taken: Mapping[str, int]) -> str:
    """Return an id under which a bad row can be listed beside all others."""
    if clip_id and taken[clip_id] == row and "#" not in clip_id and not UNPRINTABLE.search(clip_id):
        return clip_id
    listed = f"{UNPRINTABLE.sub('_', clip_id).replace('#', '_')}~row{row}"
    while listed in taken:
        listed += "~"
    return listed


def _refuse(path: Path, messages: Sequence[str]) -> None:
    if messages:
        more = f"\n  ... and {len(messages) - 10} more" if len(messages) > 10 else ""
        raise InputError(f"{path}: {len(messages)} rows are wrong:\n  " + "\n  ".join(messages[:10]) + more)


def _to_frame(rows: Mapping[int, ManifestRow]) -> pd.DataFrame:
    columns: dict[str, pd.Series[Any]] = {}
    index = pd.Index(list(rows), name="row", dtype="int64")
    for name in COLUMNS:
        values = [getattr(row, name) or None if name not in NUMBERS else getattr(row, name) for row in rows.values()]
        if not name.startswith("votes_") or any(value is not None for value in values):
            columns[name] = pd.Series(values, index=index, dtype="float64" if name in NUMBERS else "str")
    return pd.DataFrame(columns, index=index)


def _cell(value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return repr(value).removesuffix(".0")
