"""The manifest: one CSV row a clip says what goes in, who speaks, and what is known about it.

Two kinds of wrong input are kept apart. What makes the whole table meaningless (unreadable, a wrong column, a
speaker on both sides of a split) raises ``InputError``. What spoils one row only (a bad number, a path outside
the root, an id used twice) becomes a ``Problem``, and the other rows go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from pipeline.engine.names import locate
from pipeline.errors import InputError
from pipeline.manifest.csv_file import VERBATIM, WIDTH, read_cells
from pipeline.manifest.protocol import check_protocol
from pipeline.manifest.row import COLUMNS, NUMBERS, UNPRINTABLE, ManifestRow


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

    Whether the media files exist is left to the stage that opens them.

    Returns:
        The usable rows (index ``row`` as a spreadsheet counts; missing where nothing is known; ``votes_*`` columns are
        there only if any row has one), and one ``Problem`` for each other row.

    Raises:
        InputError: the table as a whole is wrong: file missing or not CSV, unknown or missing column, no rows, the root
            is no folder, a speaker in two splits or two folds, label sources or rules mixed in a corpus.
    """
    if not Path(root).is_dir():
        raise InputError(f"{path}: the root {root} is not a folder; set the root to where the media files lie")
    good: dict[int, ManifestRow] = {}
    problems: list[Problem] = []
    link_fault = _link_check(Path(root))
    table = read_cells(Path(path))
    first_use: dict[str, int] = {}
    for number, cells in table.items():
        first_use.setdefault(cells.get("clip_id", ""), number)
    for number, cells in table.items():
        parsed, column, faults = _parse_row(cells)
        if parsed is not None:
            for name in VERBATIM:
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


def read_rows(path: Path) -> list[ManifestRow]:
    """Read a manifest's rows without looking at any media file or root.

    Raises:
        InputError: a wrong table or wrong rows, of which it lists the first ten.
    """
    rows: list[ManifestRow] = []
    messages: list[str] = []
    for number, cells in read_cells(Path(path)).items():
        parsed, _, faults = _parse_row(cells)
        if parsed is None:
            messages.append(f"row {number}: {'; '.join(faults)}")
        else:
            rows.append(parsed)
    if messages:
        more = f"\n  ... and {len(messages) - 10} more" if len(messages) > 10 else ""
        raise InputError(f"{path}: {len(messages)} rows are wrong:\n  " + "\n  ".join(messages[:10]) + more)
    return rows


def _parse_row(cells: Mapping[str, str]) -> tuple[ManifestRow | None, str, list[str]]:
    """Return the row, or else the first column at fault and what is wrong with each."""
    if WIDTH in cells:
        return None, "", [cells[WIDTH]]
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
    """Return an id under which a bad row can be listed among all others."""
    if clip_id and taken[clip_id] == row and "#" not in clip_id and not UNPRINTABLE.search(clip_id):
        return clip_id
    listed = f"{UNPRINTABLE.sub('_', clip_id).replace('#', '_')}~row{row}"
    while listed in taken:
        listed += "~"
    return listed


def _link_check(root: Path) -> Callable[[str], str]:
    """Return a function that says whether a path below ``root`` is, or passes through, a link out of it."""
    real_root = root.resolve()
    real_folders: dict[Path, Path] = {}  # a corpus has many files in few folders: resolve each folder once

    def fault(path: str) -> str:
        target = locate(root / path)
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


def _to_frame(rows: Mapping[int, ManifestRow]) -> pd.DataFrame:
    columns: dict[str, pd.Series[Any]] = {}
    index = pd.Index(list(rows), name="row", dtype="int64")
    for name in COLUMNS:
        values = [getattr(row, name) or None if name not in NUMBERS else getattr(row, name) for row in rows.values()]
        if not name.startswith("votes_") or any(value is not None for value in values):
            columns[name] = pd.Series(values, index=index, dtype="float64" if name in NUMBERS else "str")
    return pd.DataFrame(columns, index=index)
