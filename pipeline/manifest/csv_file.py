"""The manifest as a file: CSV in UTF-8, read as text cells, written from rows."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pipeline.engine.files import replace_file
from pipeline.engine.names import canonical
from pipeline.errors import InputError
from pipeline.manifest.row import COLUMNS, REQUIRED, ManifestRow, suggestion

#: Written even when empty: the row's identity and its place in a protocol.
LEADING = (*REQUIRED, "split", "fold")
VERBATIM = ("path", "alignment")  # a file name may begin or end with a space
WIDTH = ""  # under this key, a row read from the file carries what is wrong with its number of fields


def read_cells(path: Path) -> dict[int, dict[str, str]]:
    """Return the non-empty rows as text, keyed by spreadsheet row; only the columns that hold something.

    Raises:
        InputError: there is no such file, it is not CSV in UTF-8, a column is unknown or missing, or there is no row.
    """
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
        table[number] = {n: c if n in VERBATIM else canonical(c) for n, c in cells if c.strip()}
        if len(record) != len(header):
            table[number][WIDTH] = (
                f"it has {len(record)} fields, the header {len(header)}; put a text with commas in quotes"
            )
    if not table:
        raise InputError(f"{path}: there is a header but no row; add a row for each clip")
    return table


def write_manifest(rows: Iterable[ManifestRow], path: Path) -> None:
    """Write rows, sorted by corpus and clip_id, with the optional columns that any row fills.

    The file appears at once or not at all.

    Raises:
        InputError: an id is used twice.
    """
    ordered = sorted(rows, key=lambda row: (row.corpus, row.clip_id))
    twice = [clip_id for clip_id, count in Counter(row.clip_id for row in ordered).items() if count > 1]
    if twice:
        raise InputError(f"{path}: {len(twice)} clip ids would be written twice, the first is {twice[0]!r}")
    columns = [n for n in COLUMNS if n in LEADING or any(getattr(row, n) not in ("", None) for row in ordered)]

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(getattr(row, name)) for name in columns] for row in ordered)

    replace_file(Path(path), write)


def _cell(value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return repr(value).removesuffix(".0")
