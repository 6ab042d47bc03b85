"""Drawings inside the page: equal for equal input, in the page's colours, with tips, and small however many dots."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
from matplotlib.axes import Axes

from trainer.report.panels import MANY, Tips, attributes_panel
from trainer.report.vector import svg


def dot(axis: Axes, name: str = "<b>") -> Tips:
    axis.plot(1, 1, "o", gid="dot", label=name)
    axis.legend()
    return {"dot": f"{name}: $1\x00"}


def test_equal_drawings_are_equal_text_and_carry_tips() -> None:
    drawn = [svg(dot, width=3, height=2, label='a "picture"') for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert "<title>&lt;b&gt;: $1 </title>" in drawn[0]
    assert 'aria-label="a &quot;picture&quot;"' in drawn[0]
    assert "currentColor" in drawn[0]
    assert "#010203" not in drawn[0]


def test_ids_of_two_drawings_differ() -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', svg(dot, width=3, height=2, label=label))) for label in ("a", "b")]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("name", ["a$\\foo$", "&<>\"'", "\x01\x02", "no 😀 font"])
def test_any_name_can_be_drawn(name: str) -> None:
    svg(lambda axis: dot(axis, name), width=3, height=2, label=name)


def test_many_dots_are_one_image() -> None:
    rng = np.random.default_rng(0)
    sizes = {}
    for count in (MANY, 10 * MANY):
        truth, predicted = rng.normal(size=(2, count, 2))
        draw = partial(attributes_panel, truth=truth, predicted=predicted, names=("x", "y"))
        drawn = svg(draw, width=4, height=4, label="")
        sizes[count] = len(drawn)
        assert (' href="data:image/png' in drawn) == (count > MANY)
    assert sizes[10 * MANY] < 400_000
