"""A self-contained HTML page out of headings, tables, pictures and nested dictionaries."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; font-size: 14px; display: block; overflow-x: auto }
th, td { border: 1px solid #d0d7de; padding: .25rem .6rem; text-align: left; vertical-align: top }
th { background: #f3f5f8 } td.number { text-align: right; font-variant-numeric: tabular-nums }
.banner { background: #b00020; color: white;
  padding: .8rem 1rem; font-size: 1.15rem; font-weight: 700; border-radius: 6px }
img { max-width: 100%; border: 1px solid #d0d7de; border-radius: 6px }
h3, h4 { margin-bottom: .2rem } .note { color: #57606a }
"""


def page(title: str, parts: Sequence[str], *, banner: str = "") -> str:
    """Compose the whole document; ``parts`` are finished HTML fragments."""
    loud = f'<p class="banner">{escape(banner)}</p>' if banner else ""
    body = "\n".join([f"<h1>{escape(title)}</h1>", loud, *parts])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """Make a heading; levels beyond 6 do not exist."""
    level = min(level, 6)
    return f"<h{level}>{escape(text)}</h{level}>"


def note(text: str) -> str:
    """Make a paragraph in small print."""
    return f'<p class="note">{escape(text)}</p>'


def picture(path: Path, alt: str) -> str:
    """Embed a PNG file in the page, so that the page can be sent alone."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of named cells; the columns are the union of the names in order of appearance.

    >>> table([{"a": 1}])
    '<table><tr><th>a</th></tr><tr><td class="number">1</td></tr></table>'
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(str(name))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in columns)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def nested(value: Any, *, level: int = 3) -> str:
    """Any JSON value as tables: scalars of a dictionary in one, dictionaries of one shape as rows of another."""
    if isinstance(value, Mapping):
        plain = {name: item for name, item in value.items() if not isinstance(item, Mapping | list)}
        deep = {name: item for name, item in value.items() if name not in plain}
        parts = [table([{"": name, "value": item} for name, item in plain.items()])] if plain else []
        if len(deep) > 1 and not plain and all(_flat(item) for item in deep.values()):
            parts.append(table([{"": name, **item} for name, item in deep.items()]))
        else:
            for name, item in deep.items():
                parts.append(heading(str(name).replace("_", " "), level) + nested(item, level=level + 1))
        return "".join(parts)
    if isinstance(value, list):
        if value and all(isinstance(item, Mapping) for item in value):
            return table([{name: _short(item) for name, item in row.items()} for row in value])
        return f"<p>{escape(', '.join(str(item) for item in value)) or 'none'}</p>"
    return f"<p>{escape(_text(value))}</p>"


def _flat(item: Any) -> bool:
    return isinstance(item, Mapping) and not any(isinstance(inner, Mapping | list) for inner in item.values())


def _short(item: Any) -> Any:
    return str(item) if isinstance(item, Mapping | list) else item


def _cell(value: Any) -> str:
    kind = ' class="number"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
    return f"<td{kind}>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN differs from itself
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
