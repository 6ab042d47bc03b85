"""A real Chromium for tests: what a page looks like, what it asks the network for, whether it is cut off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# the sandbox needs rights that a container may not give; the network is off, so that nothing can be fetched
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]


def needs_chromium() -> pytest.MarkDecorator:
    """Skip where no browser or no playwright is installed, and say which."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return pytest.mark.skip(reason="playwright is not installed (extra dev)")
    return pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


@contextmanager
def opened(path: Path, *, width: int, height: int = 900, dark: bool = False) -> Iterator[tuple[Any, list[str]]]:
    """Open a file in Chromium without a network.

    Yields:
        The page (playwright), and what went wrong or was asked of anything but the file's folder.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
        )
        page, wrong = context.new_page(), []
        folder = path.resolve().parent.as_uri()
        page.on("request", lambda request: wrong.append(request.url) if _foreign(request.url, folder) else None)
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        try:
            page.goto(path.resolve().as_uri())
            page.wait_for_load_state("load")
            yield page, wrong
        finally:
            browser.close()


def _foreign(url: str, folder: str) -> bool:
    return not url.startswith((folder, "data:"))


def overflow(page: Any) -> int:
    """Return by how many pixels a page, or a box of it that scrolls by itself, is wider than there is room."""
    script = """() => {
        const root = document.documentElement;
        const boxes = [...document.querySelectorAll('.wide, figure')]
            .filter(box => !box.closest('details:not([open])'));
        return Math.max(root.scrollWidth - root.clientWidth, ...boxes.map(box => box.scrollWidth - box.clientWidth));
    }"""
    return int(page.evaluate(script))
