"""Files behind links are found once; everything passed over is counted."""

from __future__ import annotations

import os

import pytest

from pipeline.corpora import read_corpus
from pipeline.corpora.listing import list_files
from pipeline.errors import InputError
from pipeline.manifest.csv_file import write_manifest
from pipeline.manifest.table import check_manifest
from tests.pipeline.corpora.conftest import notes


def test_links_are_followed_once_and_loops_end(tree):
    root = tree(["s1/a.wav", ".store/s3/c.wav", "z.wav"])
    (root / "s3").symlink_to(".store/s3")
    (root / "also").symlink_to("s1")  # would make a second speaker of the same files
    (root / "s1/up").symlink_to("..")
    listing = list_files(root)
    assert listing.files == ["s1/a.wav", "s3/c.wav", "z.wav"]
    assert sorted(listing.again) == ["also", "s1/up"]
    assert listing.hidden == [".store"]
    said = notes("folder", root)
    assert "1 left out: hidden files and folders (.store)" in said
    assert "2 left out: links to folders that are listed already (also, s1/up)" in said


def test_links_out_of_the_root_are_told(tree, tmp_path):
    root = tree(["s1/a.wav"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other/b.wav").touch()
    (root / "s2").symlink_to(tmp_path / "other")
    assert "1 left out: links to folders outside the root; give a --root that holds both" in notes("folder", root)
    (root / "s1/a.wav").unlink()
    with pytest.raises(InputError, match=r"no media files .*links to folders outside the root"):
        read_corpus("folder", root)
    rows = read_corpus("folder", tmp_path)
    assert [row.path for row in rows] == ["other/b.wav"]


def test_closed_folders_are_told(tree, monkeypatch):
    root = tree(["s1/a.wav", "s2/b.wav"])
    real = os.scandir

    def scandir(path):
        if str(path).endswith("s2"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert "1 left out: folders that may not be read; ask for access (s2: Permission denied)" in notes("folder", root)


def test_other_endings_are_counted(tree):
    said = notes("folder", tree(["a.wav", "b.MTS", "c.txt", "d.txt", "e"]))
    assert "3 left out: not among the endings of all media (.txt 2, none 1)" in said


def test_names_that_make_the_same_id_are_told_apart(tree, tmp_path):
    root = tree(["s/take#1.wav", "s/take_1.wav", "s/x .wav", "s/x.wav", "s/é.wav", "s/e\u0301.wav", "s/take_1~2.wav"])
    rows = read_corpus("folder", root, corpus="f")
    ids = {row.path: row.clip_id for row in rows}
    assert len(set(ids.values())) == 7
    assert ids["s/take_1.wav"] == "f/s/take_1"
    assert ids["s/take#1.wav"] == "f/s/take_1~3"  # ~2 is another file's
    assert (ids["s/x.wav"], ids["s/x .wav"]) == ("f/s/x.wav", "f/s/x .wav")
    assert (ids["s/\u00e9.wav"], ids["s/e\u0301.wav"]) == ("f/s/\u00e9.wav", "f/s/\u00e9.wav~2")
    assert "2 ids end in '~2'" in notes("folder", root)
    write_manifest(rows, tmp_path / "m.csv")
    good, problems = check_manifest(tmp_path / "m.csv", root)
    assert (len(good), problems) == (7, [])


def test_corpora_tell_ids_apart_too(tree):
    root = tree(["dev/id00012/a_b/c.mp4", "dev/id00012/a/b_c.mp4"])
    assert len({row.clip_id for row in read_corpus("voxceleb", root)}) == 2
