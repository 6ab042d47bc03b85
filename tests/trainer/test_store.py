"""What a result's key depends on, whether finished work is whole, and tables for people."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests import ROOT
from tests.trainer.conftest import flip
from trainer import store
from trainer.errors import InputError
from trainer.store import (
    NUMBERS,
    changed_files,
    code_fingerprint,
    free_place,
    is_whole,
    read_table,
    replace_folder,
    seal,
    slug,
    write_table,
)

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


def fill(folder: Path, content: str = "1") -> None:
    (folder / "deep").mkdir()
    (folder / "a.txt").write_text(content)
    (folder / "deep" / "b.txt").write_text("2")
    seal(folder)


def test_a_sealed_folder_is_whole_until_a_bit_turns(tmp_path: Path) -> None:
    replace_folder(tmp_path / "f", fill)
    assert is_whole(tmp_path / "f")
    (tmp_path / "f" / ".DS_Store").touch()
    assert is_whole(tmp_path / "f")
    flip(tmp_path / "f" / "deep" / "b.txt")
    assert changed_files(tmp_path / "f") == ["deep/b.txt"]
    assert not is_whole(tmp_path / "f")
    assert not is_whole(tmp_path / "nowhere")
    replace_folder(tmp_path / "f", fill)
    (tmp_path / "f" / "SHA256SUMS").write_text("")
    assert not is_whole(tmp_path / "f")


def test_an_equal_folder_stays_and_another_replaces_it(tmp_path: Path) -> None:
    replace_folder(tmp_path / "f", fill)
    before = (tmp_path / "f").stat().st_ino
    replace_folder(tmp_path / "f", fill)  # another command that made the same: someone may be reading it
    assert (tmp_path / "f").stat().st_ino == before
    replace_folder(tmp_path / "f", lambda folder: fill(folder, "3"))
    assert (tmp_path / "f" / "a.txt").read_text() == "3"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_formulas_are_text_in_a_csv_and_come_back(tmp_path: Path) -> None:
    cells = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "'=x", "-0.5", "plain", "a=b", "'quoted", None]
    table = pd.DataFrame({"=name": cells, "number": [-1.5, *range(len(cells) - 1)]})
    write_table(tmp_path / "t.csv", table)
    raw = pd.read_csv(tmp_path / "t.csv")
    assert list(raw) == ["'=name", "number"]
    assert raw["'=name"].tolist()[:9] == [*(f"'{cell}" for cell in cells[:6]), "-0.5", "plain", "a=b"]
    assert raw["number"].tolist() == table["number"].tolist()
    back = read_table(tmp_path / "t.csv")
    assert back["=name"].tolist()[:-1] == cells[:-1]
    write_table(tmp_path / "r.csv", pd.DataFrame({"x": ["\r=1+1", "a\rb"]}))
    assert read_table(tmp_path / "r.csv")["x"].tolist() == [" =1+1", "a b"]


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, pd.DataFrame({"x": [f"cell {number}" for number in range(2000)]}))
    flip(path, at=1000)
    with pytest.raises(InputError, match=r"t\.parquet is damaged"):
        read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.parquet")


def test_two_names_of_one_slug_get_two_places(tmp_path: Path) -> None:
    assert slug("take#1") == slug("take_1")
    (tmp_path / slug("take#1")).mkdir()
    assert free_place(tmp_path / slug("take_1")).name == "take_1_2"
    assert len(slug("x" * 300)) == 100
