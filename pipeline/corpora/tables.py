"""One strict reader of the tables that come with corpora: every row whole, or a message that names it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

from pipeline.engine.names import canonical, read_text
from pipeline.errors import InputError

SEPARATORS = {",": ",", ";": ";", "\t": r"\t", "|": "|"}  # as an option spells them


class Table(NamedTuple):
    """A table with a header."""

    columns: list[str]
    rows: dict[int, dict[str, str]]  #: by row as a spreadsheet counts: the header is row 1
    hint: str  #: what to try if a column is missing, or nothing


def read_table(path: Path, delimiter: str = "") -> Table:
    """Return a corpus's table; rows of nothing but blanks are passed over.

    Args:
        path: a text file, see `pipeline.engine.names.read_text`.
        delimiter: what separates the columns; empty: the separator found most often in the header.

    Raises:
        InputError: it is no such table, a column has two names, or a row has not as many fields as the header.
    """
    text = read_text(path)
    start = text.lstrip("\r\n").partition("\n")[0].partition("\r")[0]
    likely = max(SEPARATORS, key=start.count)
    chosen = delimiter or likely
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=chosen, strict=True))
    except csv.Error as error:
        raise InputError(f"{path} is not CSV ({error}); save it as CSV UTF-8, texts in quotes") from None
    first = next((number for number, record in enumerate(records) if any(map(str.strip, record))), None)
    if first is None:
        raise InputError(f"{path} is empty; its first row must name the columns")
    columns = [canonical(name) for name in records[first]]
    wrong = chosen != likely and start.count(likely) > start.count(chosen)
    hint = f"; the columns look separated otherwise: try delimiter={SEPARATORS[likely]}" if wrong else ""
    if len(columns) == 1 and hint:
        raise InputError(f"{path}: there is one column, {columns[0]!r}{hint}")
    if twice := [name for number, name in enumerate(columns) if name and name in columns[:number]]:
        raise InputError(f"{path}: column {twice[0]!r} appears twice; rename one")
    rows: dict[int, dict[str, str]] = {}
    for number, record in enumerate(records[first + 1 :], start=first + 2):
        if not any(map(str.strip, record)):
            continue
        if len(record) != len(columns):
            raise InputError(
                f"{path}, row {number}: it has {len(record)} fields, the header {len(columns)}; put a text that holds "
                f"{chosen!r} or a line break in quotes{hint}"
            )
        rows[number] = dict(zip(columns, record, strict=True))
    return Table(columns, rows, hint)


def read_columns(path: Path, *columns: str, corpus: str) -> list[dict[str, str]]:
    """Return the named columns of a corpus's table, a dictionary a row, without blanks around the cells.

    Raises:
        InputError: a column is missing, or the table is refused by `read_table`.
    """
    table = read_table(path)
    absent = sorted(set(columns) - set(table.columns))
    if absent:
        raise InputError(f"{path}: no column {absent[0]!r}; is it {corpus}'s table?")
    return [{key: record[key].strip() for key in columns} for record in table.rows.values()]
