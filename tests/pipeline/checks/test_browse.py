"""The label browser: which segments stand for a label, and a page that works at any width without a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.checks.browse import Choice, _page, _webp, choose
from tests.trainer.report.browser import needs_chromium, opened, overflow

SCOPES = {"t1": "corpus", "t2": "corpus"}
FITTED: dict[str, Any] = {"t1": {"c": [10.0, 10.0], "*": [10.0, 10.0]}, "t2": {"*": [1.0, 2.0]}}


def table(count: int = 12) -> pd.DataFrame:
    """T1 statistics of 0, 2, 4 ... around a threshold of 10; T3 of two emotions with margins of .1, .2 ..."""
    number = np.arange(count)
    return pd.DataFrame(
        {
            "segment_id": [f"s{n:02d}" for n in number],
            "corpus": "c",
            "speaker": "p",
            "split": "train",
            "t1_stat": 2.0 * number,
            "t1_label": np.where(number > 5, "high", "low"),
            "t2_stat": np.nan,
            "t2_label": None,
            "t3_label": np.where(number % 2, "anger", "neutral"),
            "t3_confidence": 0.1 * (number + 1),
        }
    )


def test_the_clearest_and_the_least_clear_segments_stand_for_a_label() -> None:
    chosen = choose(table(), FITTED, SCOPES, per_label=2)
    names = {(c.task, c.label, c.most): [] for c in chosen}
    for c in chosen:
        names[c.task, c.label, c.most].append(c.segment_id)
    assert names["t1", "high", True] == ["s11", "s10"]  # 22 and 20 lie farthest from 10
    assert names["t1", "high", False] == ["s06", "s07"]  # 12 lies closest
    assert names["t1", "low", True] == ["s00", "s01"]
    assert names["t3", "anger", True] == ["s11", "s09"]
    assert names["t3", "anger", False] == ["s01", "s03"]
    assert not any(task == "t2" for task, *_ in names)
    assert chosen[0].margin == pytest.approx(12 / np.std(2.0 * np.arange(12), ddof=1))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_no_segment_is_named_twice_for_a_label(count: int) -> None:
    chosen = choose(table(count), FITTED, SCOPES, per_label=4)
    named = [(c.task, c.segment_id) for c in chosen]
    assert len(named) == len(set(named))
    assert {name for task, name in named if task == "t3"} == {f"s{n:02d}" for n in range(count)}


def page(folder: Path) -> Path:
    rows = table().assign(corpus=["c", "<b>d"] * 6)
    picture = _webp(np.full((90, 160, 3), 90, np.uint8), 100)
    details: dict[str, dict[str, Any]] = {
        name: {"picture": picture, "thumbnail": picture, "units": "AU12 +2.0"} for name in rows["segment_id"]
    }
    details["s00"] = {"why_not": "the film is gone"}
    chosen = [Choice(name, "t3", label, 0.5, n % 2 == 0)
              for n, (name, label) in enumerate(zip(rows["segment_id"], rows["t3_label"], strict=True))]  # fmt: skip
    path = folder / "labels.html"
    path.write_text(_page(chosen, details, rows.set_index("segment_id")), encoding="utf-8")
    return path


def test_names_are_text_and_a_missing_film_costs_its_own_picture(tmp_path: Path) -> None:
    text = page(tmp_path).read_text()
    assert "<b>d" not in text
    assert text.count("no picture: the film is gone") == 1


@pytest.mark.slow
@needs_chromium()
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_filters_and_explains_at_any_width(tmp_path: Path, width: int, dark: bool) -> None:
    with opened(page(tmp_path), width=width, dark=dark) as (shown, wrong):
        assert overflow(shown) <= 0
        assert shown.locator("main button:visible").count() == 12
        shown.select_option("#label", "t3 anger")
        assert shown.locator("main button:visible").count() == 6
        shown.select_option("#corpus", "<b>d")
        shown.select_option("#side", "most")
        assert shown.locator("main button:visible").count() == 0
        shown.select_option("#side", "")
        shown.locator("main button:visible").first.click()
        assert "AU12 +2.0" in shown.locator("#why").inner_text()
        assert shown.locator("#picture").evaluate("image => image.naturalWidth") > 0
        assert overflow(shown) <= 0
        shown.locator("#close").click()
        assert not shown.locator("dialog").is_visible()
        assert wrong == []


@pytest.mark.slow
@needs_chromium()
def test_picture_for_the_pages_of_docs() -> None:
    """``AVSER_LABELS=reports/labels.html AVSER_SCREENSHOTS=docs pytest -k picture_for`` takes the picture of docs/."""
    source, folder = os.environ.get("AVSER_LABELS"), os.environ.get("AVSER_SCREENSHOTS")
    if not source or not folder:
        pytest.skip("AVSER_LABELS and AVSER_SCREENSHOTS name no page and no folder for pictures")
    with opened(Path(source), width=1280, height=1000) as (shown, wrong):
        shown.screenshot(path=Path(folder) / "labels-browser.jpg", type="jpeg", quality=70)
        assert wrong == []
