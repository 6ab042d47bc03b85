"""The extras of pyproject.toml bring what their half imports, and a half installs without the other."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]
# half -> extras: its own, and those whose packages are asked for by name where they are missing
HALVES = {
    "pipeline": ("pipeline", "speech-models", "visemes"),
    "trainer": ("trainer", "onnx"),
    "avser": ("pipeline", "trainer", "all", "onnx", "hf"),
}


def names(requirements: list[str]) -> set[str]:
    """Return distribution names in one spelling."""
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def brought(requirements: list[str]) -> set[str]:
    """Return the distributions that these requirements install, with all that they require in turn."""
    todo, found = [Requirement(text) for text in requirements], set()
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if (name, tuple(one.extras)) in found:
            continue
        found.add((name, tuple(one.extras)))
        for text in importlib.metadata.requires(name) or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
                todo.append(inner)
    return {name for name, _ in found}


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("half", list(HALVES))
def test_what_a_half_imports_comes_with_its_extra(half: str) -> None:
    extras = [text for extra in HALVES[half] for text in OPTIONAL[extra] if not text.startswith("avser[")]
    offered = brought(PROJECT["dependencies"] + extras)
    of_module = importlib.metadata.packages_distributions()
    own = {"avser", "pipeline", "trainer", "tests", *sys.stdlib_module_names}
    modules = {name for path in (ROOT / half).rglob("*.py") for name in imported(path)} - own
    missing = [
        name for name in modules if not {canonicalize_name(one) for one in of_module.get(name, [name])} & offered
    ]
    assert not sorted(missing)


def test_the_trainer_brings_nothing_of_the_media() -> None:
    heavy = names(OPTIONAL["pipeline"]) - names(OPTIONAL["trainer"])
    assert {"mediapipe", "py-feat", "opensmile", "imageio-ffmpeg", "librosa", "av"} <= heavy
    assert not (names(PROJECT["dependencies"]) & heavy)
    assert "torch" not in names(PROJECT["dependencies"])


def test_all_nine_packages_of_the_design_are_asked_for() -> None:
    asked = names(PROJECT["dependencies"]) | names(OPTIONAL["pipeline"]) | names(OPTIONAL["trainer"])
    assert {"ffmpeg-python", "opensmile", "librosa", "mediapipe", "py-feat", "pandas", "pyarrow", "torch"} <= asked
    assert any(name.startswith("dask") for name in asked)


def test_pinned_versions_name_no_index() -> None:
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in pinned
    lines = [line for line in pinned.splitlines() if line and not line.startswith("#")]
    assert names(PROJECT["dependencies"]) <= names(lines)
