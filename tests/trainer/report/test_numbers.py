"""Numbers are rounded, not cut, whatever they are."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.report.formatting import brief, brief_comparison
from trainer.report.numbers import bounds, mean_spread, number, p_value

VALUES = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)


@given(VALUES, st.integers(1, 6), st.booleans())
def test_what_is_shown_is_the_nearest_number_of_so_many_digits(value: float, digits: int, signed: bool) -> None:
    shown = number(value, digits, signed=signed)
    assert abs(Decimal(shown) - Decimal(value)) <= Decimal(5) / 10 ** (digits + 1)
    assert len(shown.partition(".")[2]) == digits
    assert not shown.lstrip("+-").startswith("0")
    assert shown.startswith(("+", "-")) or not signed


@given(VALUES, VALUES, st.integers(1, 4))
def test_both_ends_of_an_interval_are_rounded(low: float, high: float, digits: int) -> None:
    shown = bounds(low, high, digits).strip("[]").split(", ")
    for text, value in zip(shown, (low, high), strict=True):
        assert abs(Decimal(text) - Decimal(value)) <= Decimal(5) / 10 ** (digits + 1)


def test_what_is_missing_is_nothing() -> None:
    assert [number(None), number(math.nan), bounds(None, 0.2), bounds(math.nan, math.nan)] == [""] * 4
    assert p_value(math.nan) == "p undefined"


# Regressions: the terminal showed .60-.85 for [.5999, .8562]; "10.5" lost its zero and read "1.5".
def test_the_terminal_rounds_the_interval_and_keeps_the_zero_of_ten() -> None:
    row = {"mode": "scratch", "kl_mean": 10.5, "kl_std": 0.25, "pooled_kl": 10.5}
    (cells,) = brief([{**row, "pooled_kl_low": 0.5999, "pooled_kl_high": 0.8562}], measure="kl")
    assert cells["interval"] == ".60-.86"
    assert cells["KL"] == mean_spread(10.5, 0.25, between="±") == "10.500±.250"
    compared = {"measure": "kl", "kl_mean": 10.5, "kl_std": 0.25, "difference": 10.5, "p_holm": 0.0496}
    shown = brief_comparison({**compared, "pairs_low": -0.5, "pairs_high": 20.5}, reference="first")
    assert list(shown.values()) == ["10.500±.250", "+10.500 [-.500, +20.500]", ".050"]


@pytest.mark.parametrize(("value", "shown"), [(0.0009, "p < .001"), (0.0496, "p = .050"), (1.0, "p = 1.000")])
def test_p_values(value: float, shown: str) -> None:
    assert p_value(value) == shown
