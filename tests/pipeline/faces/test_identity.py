"""What changes the identity of the faces, which is the key of their cache."""

from __future__ import annotations

import importlib.util
import shutil
from types import SimpleNamespace

import pytest

from pipeline.engine.identity import code_digest
from pipeline.faces.extractor import FacesExtractor
from tests import ROOT


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Return the folder of a copy of the code, and a function that digests the copy."""
    for name in FacesExtractor.modules:
        folder = name.replace(".", "/")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))

    def find(name):
        return SimpleNamespace(origin=str(tmp_path / name.replace(".", "/") / "__init__.py"))

    monkeypatch.setattr(importlib.util, "find_spec", find)
    return tmp_path / "pipeline", lambda: code_digest.__wrapped__(FacesExtractor.modules)


def test_modules_are_whole_packages():
    assert FacesExtractor.modules == ("pipeline.media", "pipeline.faces")


@pytest.mark.parametrize(
    "name", ["faces/tracking/choosing.py", "faces/backends/mesh.py", "faces/align.py", "media/__init__.py"]
)
def test_an_edited_file_changes_the_identity(digest, name):
    folder, compute = digest
    before = compute()
    with (folder / name).open("a") as stream:
        stream.write("\nEDITED = 1\n")
    assert compute() != before


def test_an_edited_docstring_comment_or_config_does_not(digest):
    folder, compute = digest
    before = compute()
    config = folder / "faces" / "config.py"
    first = config.read_text().splitlines()[0]
    config.write_text(config.read_text().replace(first, '"""Another docstring."""') + "\nEDITED = 1\n")
    talking = folder / "faces" / "tracking" / "talking.py"
    talking.write_text(talking.read_text().replace('"""How well', '"""Just how well') + "\n# a comment\n")
    assert compute() == before
