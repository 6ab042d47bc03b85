"""A self-contained HTML page: headings, notes, tables and pictures, laid out by the template ``page.html``."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

Block = dict[str, Any]


def page(title: str, blocks: Iterable[Block], *, banner: str = "") -> str:
    """Compose the whole document."""
    templates = PackageLoader("trainer.report", "")
    layout = Environment(loader=templates, autoescape=True, trim_blocks=True, keep_trailing_newline=True)
    layout.filters["text"] = _text
    return layout.get_template("page.html").render(title=title, blocks=blocks, banner=banner)


def heading(text: str, level: int = 2) -> Block:
    """Make a heading; levels beyond 6 do not exist."""
    return {"kind": "heading", "text": text, "level": min(level, 6)}


def note(text: str) -> Block:
    """Make a paragraph in small print."""
    return {"kind": "note", "text": text}


def picture(path: Path, alt: str) -> Block:
    """Embed a PNG file in the page, so that the page can be sent alone."""
    return {"kind": "picture", "alt": alt, "png": base64.b64encode(path.read_bytes()).decode()}


def table(rows: Sequence[Mapping[str, Any]]) -> Block:
    """Rows of named cells; the columns are the union of the names in order of appearance."""
    return {"kind": "table", "columns": list(dict.fromkeys(name for row in rows for name in row)), "rows": rows}


def nested(value: Any, *, level: int = 3) -> list[Block]:
    """Any JSON value as tables: scalars of a dictionary in one, dictionaries of one shape as rows of another."""
    if isinstance(value, Mapping):
        plain = {name: item for name, item in value.items() if not isinstance(item, Mapping | list)}
        deep = {name: item for name, item in value.items() if name not in plain}
        blocks = [table([{"": name, "value": item} for name, item in plain.items()])] if plain else []
        if len(deep) > 1 and not plain and all(_flat(item) for item in deep.values()):
            return [table([{"": name, **item} for name, item in deep.items()])]
        for name, item in deep.items():
            blocks += [heading(str(name).replace("_", " "), level), *nested(item, level=level + 1)]
        return blocks
    if isinstance(value, list):
        if value and all(isinstance(item, Mapping) for item in value):
            return [table([{name: _short(item) for name, item in row.items()} for row in value])]
        return [_paragraph(", ".join(str(item) for item in value) or "none")]
    return [_paragraph(_text(value))]


def _paragraph(text: str) -> Block:
    return {"kind": "paragraph", "text": text}


def _flat(item: Any) -> bool:
    return isinstance(item, Mapping) and not any(isinstance(inner, Mapping | list) for inner in item.values())


def _short(item: Any) -> Any:
    return str(item) if isinstance(item, Mapping | list) else item


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN differs from itself
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
