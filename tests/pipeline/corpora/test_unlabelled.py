"""Collections without labels: plain folders, GRID, LRS, VoxCeleb."""

from __future__ import annotations

import pytest

from pipeline.corpora import read_corpus
from pipeline.errors import InputError
from tests.pipeline.corpora.conftest import by_id, notes


def test_folder_takes_the_parent_folder_as_speaker(tree):
    root = tree(
        ["ann/one.mp4", "ann/two.MOV", "ben/x/one.wav", "lone.mkv", "ann/notes.txt", ".cache/no.mp4", "._a.mp4"]
    )
    rows = by_id(read_corpus("folder", root, corpus="mine", language="en"))
    assert {name: (row.path, row.speaker) for name, row in rows.items()} == {
        "mine/ann/one": ("ann/one.mp4", "ann"),
        "mine/ann/two": ("ann/two.MOV", "ann"),
        "mine/ben/x/one": ("ben/x/one.wav", "ben/x"),
        "mine/lone": ("lone.mkv", "clip:lone"),
    }
    assert {(row.corpus, row.language, row.emotion, row.label_source) for row in rows.values()} == {
        ("mine", "en", "", "")
    }
    assert "1 clips count as a speaker each" in notes("folder", root)


def test_folder_takes_the_speaker_from_a_pattern(tree):
    root = tree(["s/ann_01.wav", "s/ben_02.wav", "s/03.wav"])
    rows = read_corpus("folder", root, speaker_pattern="([a-z]+)_")
    assert [row.speaker for row in rows] == ["clip:s/03", "ann", "ben"]


def test_folder_tells_files_of_one_name_apart(tree):
    root = tree(["a.mp4", "a.wav", "b#1.wav"])
    assert sorted(by_id(read_corpus("folder", root, corpus="f"))) == ["f/a.mp4", "f/a.wav", "f/b_1"]
    assert len(read_corpus("folder", root, media="video")) == 1


def test_names_that_no_table_can_hold_are_left_out_and_named(tree):
    root = tree(["ok.wav", "back\\slash.wav", "line\nbreak.wav", "c:\\x.wav"])
    (root / "caf\udce9.wav").touch()  # a name that is not UTF-8
    assert [row.path for row in read_corpus("folder", root)] == ["ok.wav"]
    assert "4 left out: rename them" in notes("folder", root)


@pytest.mark.parametrize("pattern", ["(", "abc"])
def test_folder_refuses_a_pattern_that_cannot_name_a_speaker(tree, pattern):
    with pytest.raises(InputError, match=r"speaker_pattern.*(no group|not a regular expression)"):
        read_corpus("folder", tree(["a.wav"]), speaker_pattern=pattern)


def test_grid_reads_words_and_talkers_in_any_of_its_layouts(tree):
    times = [0, 23750, 29500, 34000, 35500, 41000, 47250, 53000, 74500]
    words = ["sil", "bin", "blue", "at", "f", "two", "now", "sil"]
    align = "".join(f"{a} {b} {word}\n" for a, b, word in zip(times, times[1:], words, strict=False))
    files = {
        "s1/bbaf2n.mpg": "",
        "s1/bbaf2n.align": align,
        "s2/video/mpg_6000/lwbszs.mpg": "",
        "alignments/s2/lwbszs.align": align.replace("bin", "lay").replace("sil", "sp"),
        "mixed/bbaf2n.mpg": "",
        "s2/cover.mpg": "",
        "audio_25k/s2/lwbszs.wav": "",
    }
    root = tree(files)
    rows = by_id(read_corpus("grid", root))
    assert {name: (row.speaker, row.alignment, row.sentence) for name, row in rows.items()} == {
        "grid_s1_bbaf2n": ("s1", "s1/bbaf2n.align", "bin blue at f two now"),
        "grid_s2_lwbszs": ("s2", "alignments/s2/lwbszs.align", "lay blue at f two now"),
        "grid_mixed_bbaf2n": ("clip:mixed/bbaf2n", "", "bin blue at f two now"),
    }
    listed = notes("grid", root)
    assert "1 clips count as a talker each" in listed
    assert "s2/cover.mpg" in listed
    assert [row.path for row in read_corpus("grid", root, media="audio")] == ["audio_25k/s2/lwbszs.wav"]


def test_grid_knows_the_talker_from_the_root_itself(tree):
    root = tree(["s7/bbaf2n.mpg"])
    assert [row.speaker for row in read_corpus("grid", root / "s7")] == ["s7"]


def test_lrs(tree):
    timed = "Text:  GOOD MORNING\nConf:  4\n\nWORD START END ASDSCORE\nGOOD 0.1 0.3 5\nMORNING 0.3 0.9 5\n"
    root = tree(
        {"pretrain/55354/00001.mp4": "", "pretrain/55354/00001.txt": timed, "test/abc/50001.mp4": "",
         "test/abc/50001.txt": "Text:  HI\nConf:  5\n", "trainval/x/00002.mp4": ""}
    )  # fmt: skip
    rows = by_id(read_corpus("lrs", root, corpus="lrs3"))
    assert {name: (row.speaker, row.sentence, row.alignment) for name, row in rows.items()} == {
        "lrs3_pretrain_55354_00001": ("55354", "GOOD MORNING", "pretrain/55354/00001.txt"),
        "lrs3_test_abc_50001": ("abc", "HI", ""),
        "lrs3_trainval_x_00002": ("x", "", ""),
    }
    assert len(read_corpus("lrs", root, parts="pretrain,trainval")) == 2
    assert "trainval/x/00002.mp4" in notes("lrs", root)


def test_voxceleb(tree):
    root = tree(
        ["dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "dev/aac/id00012/21Uxsk56VDQ/00001.m4a", "dev/mp4/readme.mp4"]
    )
    (row,) = read_corpus("voxceleb", root, corpus="voxceleb2")
    assert (row.clip_id, row.speaker) == ("voxceleb2_id00012_21Uxsk56VDQ_00001", "id00012")
    assert [row.path for row in read_corpus("voxceleb", root, media="audio")] == [
        "dev/aac/id00012/21Uxsk56VDQ/00001.m4a"
    ]
