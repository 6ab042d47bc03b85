"""Names in several Unicode forms, and texts in several encodings."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from pipeline.engine.names import canonical, expand, locate, read_text
from pipeline.errors import InputError

COMPOSED = "José/é 1.wav"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(("on_disk", "given"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_a_file_is_found_under_a_name_in_another_form(tmp_path, on_disk, given):
    (tmp_path / on_disk).parent.mkdir()
    (tmp_path / on_disk).touch()
    assert locate(tmp_path / given) == tmp_path / on_disk
    assert locate(tmp_path / on_disk) == tmp_path / on_disk
    mixed = f"{on_disk.split('/')[0]}/{given.split('/')[1]}"
    assert locate(tmp_path / mixed) == tmp_path / on_disk
    assert canonical(on_disk) == canonical(given)


def test_a_name_that_is_there_as_written_is_taken_and_a_missing_one_stays(tmp_path):
    for name in (COMPOSED, DECOMPOSED):
        (tmp_path / name.split("/")[1]).touch()
        assert locate(tmp_path / name.split("/")[1]).name == name.split("/")[1]
    assert locate(tmp_path / "none/ü.wav") == tmp_path / "none/ü.wav"
    assert locate(Path("x.wav")) == Path("x.wav")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Tüten".encode("utf-8-sig"), "Tüten"),
        ("Tüten".encode("utf-16"), "Tüten"),
        (b"\xfe\xff" + "Tüten".encode("utf-16-be"), "Tüten"),
        ("Tüten".encode("utf-32"), "Tüten"),
        (b"It\x92s \x93fine\x94\x85\n", "It\u2019s \u201cfine\u201d\u2026\n"),  # Windows-1252
        ("It\x92s \x93fine\x94\x85\n".encode(), "It\u2019s \u201cfine\u201d\u2026\n"),
        ("Tüten\rSäcke\r".encode("mac-roman"), "Tüten\rSäcke\r"),
    ],
)
def test_texts_are_read_as_they_were_written(tmp_path, raw, text):
    (tmp_path / "t.txt").write_bytes(raw)
    assert read_text(tmp_path / "t.txt") == text


@pytest.mark.parametrize(
    "raw", ["Tüten".encode("utf-16-le"), b"\xff\xfea", b"RIFF\0\0\0\0", b"version https://git-lfs"]
)
def test_what_is_no_text_is_named(tmp_path, raw):
    (tmp_path / "t.txt").write_bytes(raw)
    with pytest.raises(InputError, match=r"t\.txt"):
        read_text(tmp_path / "t.txt")


def test_the_home_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand("~/films") == tmp_path / "films"
    assert expand("films/~") == Path("films/~")
