"""What a result's key depends on: the code and nothing that only reads well."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from tests import ROOT
from trainer import store
from trainer.store import NUMBERS, code_fingerprint

TRAINER = ROOT / "trainer"
FILES = sorted(path.relative_to(TRAINER) for name in NUMBERS for path in (TRAINER / name).rglob("*.py"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the trainer, whose fingerprint `fingerprint` then is."""
    shutil.copytree(TRAINER, tmp_path / "trainer", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(store, "__file__", str(tmp_path / "trainer" / "store.py"))
    return tmp_path / "trainer"


def fingerprint(*more: str) -> str:
    return code_fingerprint.__wrapped__(*more)


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def reworded(source: str) -> str:
    """Change every docstring and add a comment."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            first = node.body[0].lineno - 1
            lines[first] = lines[first].replace('"""', '"""In other words: ', 1)
    return "".join([*lines, "\n# a comment\n"])


def test_an_edited_word_keeps_the_fingerprint_of_every_file(home: Path) -> None:
    assert {path.parts[0] for path in FILES} == set(NUMBERS)
    before = fingerprint()
    for file in FILES:
        source = (home / file).read_text()
        changed = reworded(source)
        assert changed.count("In other words") == ast.unparse(ast.parse(changed)).count("In other words") > 0
        (home / file).write_text(changed)
    assert fingerprint() == before


def test_a_constant_changes_the_fingerprint_in_every_file(home: Path) -> None:
    found = {fingerprint()}
    for number, file in enumerate(FILES, start=2):
        append(home / file, "\nANOTHER = 1\n")
        found.add(fingerprint())
        assert len(found) == number, file
    append(home / FILES[0], "ANOTHER = 2\n")
    assert fingerprint() not in found


def test_what_only_shows_results_is_no_part_of_it(home: Path) -> None:
    before = fingerprint()
    for file in ("errors.py", "report/figures.py", "report/report.py", "cli.py", "recipes/cluster/clustering.py"):
        append(home / file, "\nANOTHER = 1\n")
    assert fingerprint() == before


@pytest.mark.parametrize("folder", ["baselines", "recipes/cluster", "recipes/orofacial"])
def test_a_folder_that_makes_numbers_of_its_own_can_be_named(home: Path, folder: str) -> None:
    before = fingerprint(folder)
    assert before != fingerprint()
    append(next((home / folder).glob("[a-z]*.py")), "\nANOTHER = 1\n")
    assert fingerprint(folder) != before
