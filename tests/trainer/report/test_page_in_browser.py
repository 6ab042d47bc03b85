"""The report in a real Chromium: wide and narrow, light and dark, without a network.

To make the pictures of the documentation anew from a finished flow: ``AVSER_SCREENSHOTS=docs AVSER_REPORT=reports
python -m pytest tests/trainer/report/test_page_in_browser.py``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.trainer.report.browser import needs_chromium, opened, overflow
from tests.trainer.report.examples import write_example
from trainer.params import ReportParams
from trainer.report.report import report

pytestmark = needs_chromium()
SIZES = [(1280, False), (1280, True), (390, False), (390, True)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two made-up corpora, one with a long name, eight classes and baselines."""
    folder = tmp_path_factory.mktemp("report")
    params = write_example(folder)
    report(folder / "reports", folder / "pretrain", params)
    return folder / "reports" / "index.html"


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_nothing_is_cut_off_and_nothing_is_fetched(written: Path, tmp_path: Path, width: int, dark: bool) -> None:
    with opened(written, width=width, dark=dark) as (page, wrong):
        assert overflow(page) <= 0
        assert page.evaluate("window.innerWidth") == width  # the window is as wide as the telephone says
        first = page.locator("h1, h2, h3, h4").first
        assert first.evaluate("e => e.tagName") == "H1"
        assert "from scratch" in first.inner_text()
        assert page.get_by_text("SYNTHETIC").first.is_visible()
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 200) == dark
        shot = tmp_path / f"report-{width}{'-dark' if dark else ''}.png"
        page.screenshot(path=shot, full_page=True)
        assert shot.stat().st_size > 20_000
        assert wrong == []


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_folded_away_opens_and_stays_inside(written: Path, width: int) -> None:
    with opened(written, width=width) as (page, wrong):
        assert page.locator("details").count() >= 6
        assert not page.locator("details[open]").count()
        page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert wrong == []


def test_readers_without_eyes_are_told(written: Path) -> None:
    with opened(written, width=1280) as (page, _):
        for drawing in page.locator("svg").all():
            assert drawing.get_attribute("role") == "img"
            assert drawing.get_attribute("aria-label")
        for table in page.locator("table").all():
            assert table.locator("thead th[scope=col]").count() >= 2
            assert table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count()
        assert page.locator("svg title").first.text_content()  # the number of a run, where it is pointed at
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))


def test_letters_of_drawings_can_be_read_on_a_telephone(written: Path) -> None:
    with opened(written, width=390) as (page, _):
        sizes = page.evaluate(
            "[...document.querySelectorAll('main > .panels svg text')].map(e => e.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 9  # pixels
        assert page.locator(".matrix td").first.bounding_box()["height"] >= 24


@pytest.mark.skipif("AVSER_SCREENSHOTS" not in os.environ, reason="AVSER_SCREENSHOTS names no folder for pictures")
@pytest.mark.parametrize("width", [1280, 390])
def test_pictures_for_the_documentation(written: Path, tmp_path: Path, width: int) -> None:
    folder = Path(os.environ["AVSER_SCREENSHOTS"])
    source = Path(os.environ["AVSER_REPORT"]) / "index.html" if "AVSER_REPORT" in os.environ else written
    copy = shutil.copy(source, tmp_path)
    with opened(Path(copy), width=width, height=1500 if width < 500 else 1100) as (page, wrong):
        page.screenshot(path=folder / f"report-{width}.png")
        assert overflow(page) <= 0
        assert wrong == []
    assert (folder / f"report-{width}.png").stat().st_size < 200_000


def test_the_summary_of_the_pipeline_is_optional(tmp_path: Path) -> None:
    params = write_example(tmp_path)
    report(tmp_path / "reports", tmp_path / "none", ReportParams(**{**params.model_dump(), "summary": ""}))
    with opened(tmp_path / "reports" / "index.html", width=390) as (page, wrong):
        assert not page.get_by_text("Films, faces and labels").count()
        assert wrong == []
