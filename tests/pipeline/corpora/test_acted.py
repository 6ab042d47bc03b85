"""Acted corpora, whose labels are in the names of files."""

from __future__ import annotations

import pytest

from pipeline.corpora import read_corpus
from pipeline.errors import InputError
from tests.pipeline.corpora.conftest import by_id, notes


@pytest.mark.parametrize("name", ["03a01Fa.wav", "wav/03a01Fa.flac"])
def test_emodb(tree, name):
    (row,) = read_corpus("emodb", tree([name, "wav/readme.wav"]))
    assert (row.clip_id, row.speaker, row.emotion, row.label_source) == ("emodb_03a01Fa", "03", "happiness", "acted")
    assert (row.language, row.sentence) == ("de", "Der Lappen liegt auf dem Eisschrank.")


@pytest.mark.parametrize(
    ("code", "emotion"),
    [
        ("W", "anger"),
        ("L", "boredom"),
        ("E", "disgust"),
        ("A", "fear"),
        ("F", "happiness"),
        ("T", "sadness"),
        ("N", "neutral"),
    ],
)
def test_emodb_letters_stand_for_german_words(tree, code, emotion):
    assert read_corpus("emodb", tree([f"08b10{code}d.wav"]))[0].emotion == emotion


def test_ravdess_speech_of_an_unpacked_archive(tree):
    root = tree(
        ["Actor_01/03-01-06-01-02-01-01.wav", "Actor_24/03-01-08-02-01-02-24.wav", "Actor_01/03-02-02-01-01-01-01.wav",
         "audio_speech_actors_01-24/Actor_01/03-01-06-01-02-01-01.wav", "Actor_01/readme.wav"]
    )  # fmt: skip
    rows = by_id(read_corpus("ravdess", root))
    assert {row.speaker: (row.emotion, row.intensity, row.sentence) for row in rows.values()} == {
        "01": ("fear", 1.0, "Dogs are sitting by the door"),
        "24": ("surprise", 2.0, "Kids are talking by the door"),
    }
    listed = notes("ravdess", root)
    assert "the same name was found before" in listed  # a widely used copy holds everything twice
    assert "other modality or channel" in listed


def test_ravdess_song_and_film_names(tree):
    root = tree([f"Video_Song_Actor_05/Actor_05/{m}-02-05-02-01-01-05.mp4" for m in ("01", "02")])
    with pytest.raises(InputError, match=r"--option channel=\.\.\."):
        read_corpus("ravdess", root)
    assert [row.path[-24:] for row in read_corpus("ravdess", root, channel="song")] == ["01-02-05-02-01-01-05.mp4"]
    (silent,) = read_corpus("ravdess", root, channel="both", modality="video")
    assert silent.clip_id == "ravdess_02-02-05-02-01-01-05"
    assert silent.emotion == "anger"


def test_savee_in_both_layouts(tree):
    root = tree(
        ["AudioData/DC/sa01.wav", "AudioData/JE/su15.wav", "AudioData/DC/n30.wav", "ALL/DC_sa01.wav", "ALL/KL_h02.wav"]
    )
    rows = by_id(read_corpus("savee", root))
    assert {name: (row.speaker, row.emotion) for name, row in rows.items()} == {
        "savee_DC_sa01": ("DC", "sadness"), "savee_JE_su15": ("JE", "surprise"),
        "savee_DC_n30": ("DC", "neutral"), "savee_KL_h02": ("KL", "happiness"),
    }  # fmt: skip


def test_tess(tree):
    root = tree(["OAF_Fear/OAF_back_fear.wav", "YAF_pleasant_surprised/YAF_back_ps.wav", "x/OA_bite_neutral.wav"])
    rows = by_id(read_corpus("tess", root))
    assert [(row.speaker, row.emotion, row.sentence) for row in rows.values()] == [
        ("OAF", "fear", "Say the word back"), ("YAF", "surprise", "Say the word back"),
        ("OAF", "neutral", "Say the word bite"),
    ]  # fmt: skip


def test_crema_knows_the_clip_that_old_copies_misname(tree):
    (row,) = read_corpus("crema_d", tree(["AudioWAV/1040_ITH_SAD_X.wav"]), labels="acted")
    assert (row.clip_id, row.path, row.emotion) == ("crema_d_1040_ITH_SAD_XX", "AudioWAV/1040_ITH_SAD_X.wav", "sadness")
    both = tree(["AudioWAV/1040_ITH_SAD_X.wav", "AudioWAV/1040_ITH_SAD_XX.wav"])
    assert len(read_corpus("crema_d", both, labels="acted")) == 1
