"""A drawing as SVG inside the page: sharp at any width, in the page's colours, with a tip on whatever is pointed at.

No script draws it. plotly would bring 4.5 MB of JavaScript into every page (its package on PyPI has no smaller bundle)
for little more: to point at a run and read its number, `<title>` elements are enough, and work where scripts do not.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.report.panels import Tips, text_of

_SVG = "http://www.w3.org/2000/svg"
_INK = "#010203"  # stands for the colour of the text around the drawing, which differs in dark mode
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "avser",  # equal drawings have equal ids
    "text.parse_math": False,  # names of corpora may hold dollar signs
    "font.size": 10,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "legend.labelcolor"), _INK
    ),
}


def svg(draw: Callable[[Axes], Tips], *, width: float, height: float, label: str) -> str:
    """Draw on one pair of axes and return an ``<svg>`` element.

    Args:
        draw: draws, and returns what the page says of each group it gave an id (``gid``).
        width: in inches of 72 points; the page makes a point a pixel at most, and shrinks what is too wide.
        height: in inches.
        label: what the drawing shows, for those who do not see it.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        tips = text_of(draw(figure.add_subplot()))
        written = StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # no date: equal drawings are equal text
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    text = "".join(c for c in written.getvalue() if c.isprintable() or c == "\n").replace(_INK, "currentColor")
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text[text.index("<svg") :])
    for element in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(element)
    for group in root.iter():
        if (tip := tips.get(group.get("id", ""))) is not None:
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = tip
            group.insert(0, title)
    _prefix_ids(root, label)
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": label, "style": f"max-width: {72 * width * 1.4:.0f}px"}
    return ElementTree.tostring(root, encoding="unicode")


def _prefix_ids(root: ElementTree.Element, label: str) -> None:
    """Make the ids of a drawing its own: a page has several, and equal ids would point into the first."""
    prefix = f"s{sha256(label.encode()).hexdigest()[:8]}-"
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            if name == "id":
                element.set(name, prefix + value)
            elif name.endswith("href"):  # with XLink's name, which HTML does not need
                del element.attrib[name]
                element.set("href", f"#{prefix}{value[1:]}" if value.startswith("#") else value)
            elif "url(#" in value:
                element.set(name, value.replace("url(#", f"url(#{prefix}"))
