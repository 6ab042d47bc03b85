"""Labels from folders and names, and manifests whose emotions have other names."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipeline.corpora import read_corpus
from pipeline.corpora.spelling import translate_manifest
from pipeline.errors import InputError
from pipeline.manifest.table import read_rows
from tests.pipeline.corpora.conftest import by_id, notes


def test_class_folders_give_emotions_and_the_folder_above_the_speaker(tree):
    root = tree(["ann/angry/1.wav", "ann/Happy/2.wav", "bob/NEU/1.wav", "bob/odd/9.wav"])
    rows = by_id(read_corpus("folder", root, corpus="f", emotion="parent", label_source="acted"))
    assert {name: (row.emotion, row.speaker) for name, row in rows.items()} == {
        "f/ann/angry/1": ("anger", "ann"),
        "f/ann/Happy/2": ("happiness", "ann"),
        "f/bob/NEU/1": ("neutral", "bob"),
        "f/bob/odd/9": ("", "bob"),
    }
    assert rows["f/ann/angry/1"].label_source == "acted"
    assert rows["f/bob/odd/9"].label_source == ""
    assert "1 clips are called 'odd', which is no emotion" in notes("folder", root, emotion="parent")


def test_class_folders_without_speakers_warn_of_the_leak(tree):
    root = tree(["angry/a1.wav", "sad/b1.wav"])
    rows = read_corpus("folder", root, corpus="f", emotion="parent")
    assert [row.speaker for row in rows] == ["clip:angry/a1", "clip:sad/b1"]
    assert "2 of these clips nothing says who speaks" in notes("folder", root, emotion="parent")
    named = read_corpus("folder", root, emotion="parent", speaker_pattern="/([a-z])[0-9]")
    assert [row.speaker for row in named] == ["a", "b"]


def test_a_pattern_finds_the_emotion_in_the_name_and_an_option_says_what_it_means(tree):
    root = tree(["s1/01-wut.wav", "s1/02-sad.wav", "s2/x.wav"])
    options = {"emotion_pattern": "-([a-z]+)", "emotions": "wut:anger"}
    assert [row.emotion for row in read_corpus("folder", root, **options)] == ["anger", "sadness", ""]
    assert "1 clips are unlabelled" in notes("folder", root, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"emotion_pattern": "("}, "not a regular expression"),
        ({"emotion_pattern": "abc"}, "has no group"),
        ({"emotions": "x:angr"}, "did you mean 'anger'"),
        ({"label_source": "acte"}, "did you mean 'acted'"),
        ({"emotion": "folder"}, "emotion"),
    ],
)
def test_wrong_options_say_what_is_wrong(tree, options, message):
    with pytest.raises(InputError, match=message):
        read_corpus("folder", tree(["a/b.wav"]), **options)


def manifest(path: Path, *emotions: str) -> Path:
    rows = [[f"c{n}", "c", f"{n}.wav", f"s{n}", emotion, "a, b"] for n, emotion in enumerate(emotions)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["clip_id", "corpus", "path", "speaker", "emotion", "sentence"], *rows])
    return path


def test_a_manifest_is_translated_and_keeps_all_else(tmp_path):
    path = manifest(tmp_path / "m.csv", "angry", "Happy", "anger", "", "wut")
    with pytest.raises(InputError, match=r"pipeline translate FILE"):
        read_rows(path)
    assert translate_manifest(path, path, emotions="wut:") == {
        "angry -> anger": 1, "Happy -> happiness": 1, "wut -> (no label)": 1,
    }  # fmt: skip
    rows = read_rows(path)
    assert [row.emotion for row in rows] == ["anger", "happiness", "anger", "", ""]
    assert {row.sentence for row in rows} == {"a, b"}


def test_names_that_nobody_knows_stop_the_translation(tmp_path):
    path = manifest(tmp_path / "m.csv", "angry", "anxious", "joyful")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"'anxious' \(1 rows\).*--emotions"):
        translate_manifest(path, path)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="no such manifest"):
        translate_manifest(tmp_path / "none.csv", path)
