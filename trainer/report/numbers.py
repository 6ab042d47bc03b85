"""Numbers as text: rounded, without the zero before the point, alike in the terminal, in Markdown and on the page."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd


def number(value: Any, digits: int = 3, *, signed: bool = False) -> str:
    """Round a number to ``digits`` decimals; nothing for what is missing.

    Args:
        value: a number, NaN or None.
        digits: decimals that are shown.
        signed: write the plus sign too, as for a difference.

    >>> number(0.8562, 2), number(-0.0251), number(0.5, signed=True), number(10.5, 2), number(None)
    ('.86', '-.025', '+.500', '10.50', '')
    """
    if pd.isna(value):
        return ""
    shown = format(float(value), f"{'+' if signed else ''}.{digits}f")
    return re.sub(r"^([+-]?)0(?=\.)", r"\1", shown)


def mean_spread(mean: Any, deviation: Any, digits: int = 3, *, between: str = " ± ") -> str:
    """Format a mean with its standard deviation.

    >>> mean_spread(0.738, 0.1562), mean_spread(0.738, 0.1562, between="±")
    ('.738 ± .156', '.738±.156')
    """
    return f"{number(mean, digits)}{between}{number(deviation, digits)}"


def bounds(low: Any, high: Any, digits: int = 3, *, signed: bool = False) -> str:
    """Format an interval; nothing where there is none.

    >>> bounds(0.5999, 0.8562, 2), bounds(-0.014, 0.036, signed=True), bounds(None, None)
    ('[.60, .86]', '[-.014, +.036]', '')
    """
    if pd.isna(low) or pd.isna(high):
        return ""
    return f"[{number(low, digits, signed=signed)}, {number(high, digits, signed=signed)}]"


def percent(value: Any, digits: int = 1) -> str:
    """Format per cent with a sign, as of a relative gain.

    >>> percent(-3.389), percent(None)
    ('-3.4 %', '')
    """
    return "" if pd.isna(value) else f"{value:+.{digits}f} %"


def p_value(value: float | None) -> str:
    """Put a p value into words.

    >>> p_value(0.0312), p_value(1e-5), p_value(None)
    ('p = .031', 'p < .001', 'p undefined')
    """
    if value is None or math.isnan(value):
        return "p undefined"
    return "p < .001" if value < 0.001 else f"p = {number(value)}"


def bare_p(value: float | None) -> str:
    """Format a p value for a column that is named p: `p_value` without the letter and the equals sign."""
    return p_value(value).removeprefix("p ").removeprefix("= ")
