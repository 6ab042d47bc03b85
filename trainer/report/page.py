"""A self-contained HTML page: blocks laid out by the template ``page.html`` and ``style.css``, without a script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from trainer.report.answers import Answers
from trainer.report.numbers import number

Block = dict[str, Any]
_NUMERIC = re.compile(r"([-+]?[\d.,]+( %)?)? ?([±\[].*)?|-")  # a number, perhaps with a spread or an interval


def page(title: str, headline: str, blocks: Iterable[Block], *, banner: str = "") -> str:
    """Compose the whole document.

    Args:
        title: of the window, and in small print above the headline.
        headline: the first heading.
        blocks: what follows it.
        banner: a warning above everything.
    """
    templates = PackageLoader("trainer.report", "")
    layout = Environment(loader=templates, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    layout.filters |= {"text": _text, "whole": _whole}
    layout.globals["parts"] = _parts
    content = {"title": title, "headline": headline, "blocks": list(blocks), "banner": banner}
    return layout.get_template("page.html").render(**content) + "\n"


def heading(text: str, level: int = 2) -> Block:
    """Make a heading."""
    return {"kind": "heading", "text": text, "level": level}


def note(text: str) -> Block:
    """Make a paragraph in small print."""
    return {"kind": "note", "text": text}


def paragraph(text: str) -> Block:
    """Make a paragraph."""
    return {"kind": "paragraph", "text": text}


def bullets(entries: Sequence[str]) -> Block:
    """Make a list of sentences."""
    return {"kind": "list", "entries": entries}


def drawing(svg: str, caption: str) -> Block:
    """Place an ``<svg>`` element that this program made (it is not escaped)."""
    return {"kind": "drawing", "svg": Markup(svg), "caption": caption}


def panels(blocks: Sequence[Block]) -> Block:
    """Lay blocks out side by side where there is room, else below each other."""
    return {"kind": "panels", "blocks": blocks}


def details(summary: str, blocks: Sequence[Block]) -> Block:
    """Fold blocks away under a line that opens them."""
    return {"kind": "details", "summary": summary, "blocks": blocks}


def table(rows: Sequence[Mapping[str, Any]], *, caption: str = "", small: str = "", label: str = "table") -> Block:
    """Rows of named cells, the first of which heads the row; columns are the union of the names in order of appearance.

    Columns that hold numbers alone stand to the right. ``label`` names a table that has no caption.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = [name for name in columns[1:] if all(_NUMERIC.fullmatch(_text(row.get(name))) for row in rows)]
    names = {"caption": caption, "small": small, "label": label}
    return {"kind": "table", "columns": columns, "rows": rows, "numeric": numeric, **names}


def matrix(each: Answers, *, caption: str) -> Block:
    """Lay the answers of classes out as a table: a row a true class, in per cent of it, darker where there are more."""
    assert each.counts is not None
    assert each.totals is not None
    cells = [
        [
            {
                "percent": f"{100 * count / total:.0f}" if total else "-",
                "share": f"{count / total:.3f}" if total else "0",
                "tip": f"{actual}: {count:.0f} of {total:.0f} answered {answer}",
            }
            for answer, count in zip(each.names, row, strict=True)
        ]
        for actual, row, total in zip(each.names, each.counts, each.totals, strict=True)
    ]
    return {"kind": "matrix", "names": each.names, "cells": cells, "caption": caption}


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN differs from itself
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def _whole(text: str) -> str:
    """Keep an interval in a sentence on one line."""
    return re.sub(r"\[[^\[\]]*\]", lambda found: found.group().replace(" ", "\u00a0"), text)


def _parts(cell: str) -> list[str]:
    """Split a cell where a line may break: before the spread and before the interval.

    >>> _parts(".738 ± .156"), _parts("+.011 [-.014, +.036]")
    (['.738', '± .156'], ['+.011', '[-.014, +.036]'])
    """
    return re.split(r" (?=[±\[])", cell)
