"""Readers on tiny trees of the real layouts (names and empty files), and the making of a manifest."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pipeline.corpora import CORPORA, make_manifest, make_reader, read_corpus
from pipeline.corpora.votes import label_from_votes
from pipeline.errors import InputError
from pipeline.manifest.table import EMOTIONS, check_manifest
from tests import ROOT

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n"


@pytest.fixture
def tree(tmp_path):
    """Make files below ``tmp_path / 'root'``; a dict gives their texts."""

    def plant(files):
        for name in files:
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name] if isinstance(files, dict) else "", encoding="utf-8")
        return tmp_path / "root"

    return plant


def notes(corpus, root, /, **options):
    return " | ".join(make_reader(corpus, options).read(root).notes)


def by_id(rows):
    assert len({row.clip_id for row in rows}) == len(rows)
    return {row.clip_id: row for row in rows}


# --- plain folder


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


# --- GRID


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
    told = notes("grid", root)
    assert "1 clips count as a talker each" in told
    assert "s2/cover.mpg" in told
    assert [row.path for row in read_corpus("grid", root, media="audio")] == ["audio_25k/s2/lwbszs.wav"]


def test_grid_knows_the_talker_from_the_root_itself(tree):
    root = tree(["s7/bbaf2n.mpg"])
    assert [row.speaker for row in read_corpus("grid", root / "s7")] == ["s7"]


# --- acted corpora: labels in the names


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
    told = notes("ravdess", root)
    assert "the same name was found before" in told  # a widely used copy holds everything twice
    assert "other modality or channel" in told


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


# --- rated corpora: labels in tables


CREMA_TABLE = (
    '"","A","D","F","H","N","S","fileName","meanEmoResp"\n'
    '"100001",6,2,0,0,1,0,"1001_DFA_ANG_XX",71.5\n"100002",1,1,0,0,4,4,"1091_IEO_SAD_HI",40\n'
    '"200001",0,0,9,0,0,0,"1001_DFA_ANG_XX",80\n"300001",0,0,0,9,0,0,"1001_DFA_ANG_XX",90\n'
)


def test_crema_ratings_of_voice_face_and_both_are_kept_apart(tree):
    clips = ["AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1091_IEO_SAD_HI.wav"]
    root = tree({**dict.fromkeys(clips, ""), "processedResults/tabulatedVotes.csv": CREMA_TABLE})
    first, tied = read_corpus("crema_d", root)
    assert (first.speaker, first.fold, first.emotion, first.label_source, first.label_rule) == (
        "1001", "S2", "anger", "voice", "majority",
    )  # fmt: skip
    assert (first.votes_anger, first.votes_disgust, first.votes_sadness, first.votes_surprise) == (6, 2, 0, None)
    assert (tied.fold, tied.emotion, tied.votes_sadness, tied.intensity) == ("S3", "", 4, 3.0)
    assert (first.level, tied.level) == (71.5, 40.0)
    assert [read_corpus("crema_d", root, labels=name)[0].level for name in ("face", "acted")] == [80.0, None]
    assert read_corpus("crema_d", root, rule="all_inclusive")[1].emotion in ("neutral", "sadness")
    assert [read_corpus("crema_d", root, labels=name)[0].emotion for name in ("face", "audiovisual", "acted")] == [
        "fear", "happiness", "anger",
    ]  # fmt: skip
    unrated = read_corpus("crema_d", root, labels="face")[1]
    assert (unrated.votes_anger, unrated.level) == (None, None)  # nobody rated it: no zeros


def test_msp_face(tree):
    label = {
        "EmoClass_Major": "U",
        "EmoAct": "5.5",
        "EmoDom": "5.0",
        "EmoVal": "4.25",
        "SpkrID": "27",
        "Split_Set": "Test",
    }
    workers = [{"EmoClass_Major": answer} for answer in ("Surprise", "Surprise", "Happy", "Other")]
    root = tree(
        {
            "MSP-Face/MSP-FACE_0253/Segments/MSP-FACE_0253_0006/MSP-FACE_0253_0006.mp4": "",
            "MSP-Face/MSP-FACE_0253/Segments/MSP-FACE_0253_0006/Audio/MSP-FACE_0253_0006.wav": "",
            "MSP-Face/MSP-FACE_0001/Segments/MSP-FACE_0001_0001/MSP-FACE_0001_0001.mp4": "",
            "MSP-Face/MSP-FACE_0001/MSP-FACE_0001.mp4": "",
            "Labels/label_consensus.json": json.dumps({"MSP-FACE_0253_0006.mp4": [label]}),
            "Labels/labels_detailed.json": json.dumps({"MSP-FACE_0253_0006.mp4": {"Workers": workers}}),
            "Doc/speaker_id_segments.txt": "MSP-FACE_0001_0001.mp4,Speaker_264\nMSP-FACE_0253_0006.mp4,Speaker_27\n",
        }
    )
    rows = by_id(read_corpus("msp_face", root))
    rated, plain = rows["msp_face_MSP-FACE_0253_0006"], rows["msp_face_MSP-FACE_0001_0001"]
    assert len(rows) == 2
    assert (rated.speaker, rated.split, rated.emotion, rated.label_source) == ("27", "test", "surprise", "audiovisual")
    assert (rated.arousal, rated.valence, rated.dominance) == (5.5, 4.25, 5.0)
    assert (rated.votes_surprise, rated.votes_happiness, rated.votes_fear, rated.votes_other) == (2, 1, 0, 1)
    assert (plain.speaker, plain.split, plain.emotion, plain.label_source) == ("264", "", "", "")
    assert len(read_corpus("msp_face", root, clips="unlabelled")) == 1


def test_msp_podcast(tree):
    table = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n" + "".join(
        f"MSP-PODCAST_{name}.wav,{rest}\n"
        for name, rest in [
            ("0001_0008", "N,2.2,4,2.6,127,Male,Test1"),
            ("0002_0001", "C,5,3,4.5,Unknown,Female,Train"),
            ("0003_0001", "X,5,3,4.5,9,Female,Development"),
            ("0004_0001", "H,5,3,4.5,8,Female,Test2"),
            ("0005_0001", "H,5,3,4.5,7,Female,Train"),
        ]
    )
    detailed = "FileName,Worker,EmoClass_Major\n" + "".join(
        f"MSP-PODCAST_0002_0001.wav,W{i},{answer}\n" for i, answer in enumerate(["Contempt", "Contempt", "Angry"])
    )
    files = {f"Audios/MSP-PODCAST_000{i}_0001.wav": "" for i in (2, 3, 4)} | {
        "Audios/MSP-PODCAST_0001_0008.wav": "",
        "Labels/labels_consensus.csv": table,
        "Labels/labels_detailed.csv": detailed,
        "Transcripts/MSP-PODCAST_0001_0008.txt": "well,\nyes\n",
    }
    root = tree(files)
    rows = by_id(read_corpus("msp_podcast", root))
    first, unknown, no_agreement = (
        rows[f"msp_podcast_MSP-PODCAST_{n}"] for n in ("0001_0008", "0002_0001", "0003_0001")
    )
    assert len(rows) == 3
    assert (first.split, first.emotion, first.label_source, first.sentence) == ("test", "neutral", "voice", "well, yes")
    assert (first.arousal, first.valence, first.dominance) == (2.2, 4.0, 2.6)
    assert (unknown.speaker, unknown.split, unknown.votes_contempt, unknown.votes_neutral) == (
        "recording:0002",
        "train",
        2,
        0,
    )
    assert (no_agreement.split, no_agreement.emotion) == ("dev", "")
    assert "1 clips of Test2 left out" in notes("msp_podcast", root)
    assert "1 left out: in the table but not on disk (MSP-PODCAST_0005_0001.wav)" in notes("msp_podcast", root)
    assert sum(row.split == "test" for row in read_corpus("msp_podcast", root, test="Test1,Test2")) == 2


def test_msp_improv(tree):
    evaluation = (
        "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:3.333333; V:1.500000; D:3.000000 ; N:4.200000;\n"
        "WORKER01; Angry; Frustrated,Angry; A:4.0; V:2.0; D:3.0; N:4.0;\n"
        "WORKER02; Angry; Angry; A:4.0; V:1.0; D:3.0; N:4.0;\n"
        "WORKER02; Happy; Happy; A:4.0; V:1.0; D:3.0; N:4.0;\n"
        "WORKER03; Other (disdain); x; A:4.0; V:1.0; D:3.0; N:4.0;\n\n"
        "UTD-IMPROV-S20H-M06-R-MF02.avi; X; A:NaN; V:2.0; D:3.0 ; N:NaN;\n"
    )
    root = tree(
        {"session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav": "", "session1/S01A/P/UTD-IMPROV-S01A-F01-P-FM01.avi": "",
         "session6/S20H/R/MSP-IMPROV-S20H-M06-R-MF02.wav": "", "Evalution.txt": evaluation}
    )  # fmt: skip
    angry, unclear = read_corpus("msp_improv", root)
    assert (angry.speaker, angry.fold, angry.emotion, angry.label_source) == ("F01", "session1", "anger", "audiovisual")
    assert (angry.arousal, angry.valence, angry.dominance) == (3.333333, 1.5, 3.0)
    assert (angry.votes_anger, angry.votes_happiness, angry.votes_other) == (
        2,
        0,
        1,
    )  # a rater's second answer is not counted
    assert (unclear.fold, unclear.emotion, unclear.arousal, unclear.valence) == ("session6", "", None, 2.0)
    assert [row.path for row in read_corpus("msp_improv", root, media="video")] == [
        "session1/S01A/P/UTD-IMPROV-S01A-F01-P-FM01.avi"
    ]


def test_iemocap(tree):
    evaluation = (
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        "[6.2901 - 8.2357]\tSes01F_impro01_F000\texc\t[4.5000, 2.5000, 3.0000]\n"
        "C-E2:\tExcited;\t()\nC-E3:\tHappiness; Surprise;\t()\nC-E4:\tFrustration;\t()\nC-F1:\tNeutral;\t()\n"
        "A-E3:\tval 3; act 2; dom  2;\t()\n\n"
        "[9.0 - 10.5]\tSes01F_impro01_M000\txxx\t[2.0000, 3.5000, 2.5000]\n"
    )
    texts = "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\nM: noise\nSes01F_impro01_M000 [009.0-010.5]: Yes?\n"
    root = tree(
        {
            "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav": "",
            "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav": "",
            "Session1/dialog/wav/Ses01F_impro01.wav": "",
            "Session5/sentences/wav/Ses05M_script03_2b/Ses05M_script03_2b_F012.wav": "",
            "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": evaluation,
            "Session1/dialog/transcriptions/Ses01F_impro01.txt": texts,
        }
    )
    rows = by_id(read_corpus("iemocap", root))
    first, second = rows["iemocap_Ses01F_impro01_F000"], rows["iemocap_Ses01F_impro01_M000"]
    assert len(rows) == 3
    assert (first.speaker, first.fold, first.emotion, first.sentence) == (
        "Ses01F",
        "session1",
        "happiness",
        "Excuse me.",
    )
    assert (first.valence, first.arousal, first.dominance) == (4.5, 2.5, 3.0)
    assert (first.votes_happiness, first.votes_other, first.votes_neutral) == (2, 1, 0)  # the actor's own rating is not
    assert (second.speaker, second.emotion, second.label_source) == ("Ses01M", "", "audiovisual")
    assert rows["iemocap_Ses05M_script03_2b_F012"].speaker == "Ses05F"
    assert read_corpus("iemocap", root, excited="false")[0].emotion == ""


def test_meld_leaves_the_split_empty(tree):
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
    root = tree(
        {
            "train_sent_emo.csv": head + '1,"Oh, my God",Rachel,joy,positive,0,1\n2,no,Ross,anger,negative,125,3\n',
            "test_sent_emo.csv": head + "1,Hi,Rachel,surprise,positive,0,0\n2,Bye,Rachel,neutral,neutral,0,9\n",
            "train/train_splits/dia0_utt1.mp4": "",
            "train/train_splits/dia125_utt3.mp4": "",
            "output_repeated_splits_test/dia0_utt0.mp4": "",
        }
    )
    rows = by_id(read_corpus("meld", root))
    assert {name: (row.speaker, row.emotion, row.split, row.sentence) for name, row in rows.items()} == {
        "meld_train_dia0_utt1": ("Rachel", "happiness", "", "Oh, my God"),
        "meld_test_dia0_utt0": ("Rachel", "surprise", "", "Hi"),
    }
    told = notes("meld", root)
    assert all(text in told for text in ("known bad", "test dia0_utt9", "no dev_sent_emo.csv", "split left empty"))


# --- unlabelled collections


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


# --- any CSV


def test_csv_maps_columns_texts_and_names_of_emotions(tree):
    root = tree({"labels.csv": "name;who;label;split\nx1;Ann;ang;train\nx2;Ben;exc;test\nx3;Ann;nothing;train\n"})
    options = {
        "delimiter": ";", "clip_id": "mine_{name}", "corpus": "=mine", "path": "wav/{name}.wav", "speaker": "who",
        "emotion": "label", "label_source": "=voice", "emotions": "exc:happiness,nothing:",
    }  # fmt: skip
    rows = read_corpus("csv", root, **options)
    assert [(r.clip_id, r.path, r.speaker, r.emotion, r.split, r.corpus) for r in rows] == [
        ("mine_x1", "wav/x1.wav", "Ann", "anger", "train", "mine"),
        ("mine_x2", "wav/x2.wav", "Ben", "happiness", "test", "mine"),
        ("mine_x3", "wav/x3.wav", "Ann", "", "train", "mine"),
    ]
    assert notes("csv", root, **options) == ""
    assert "1 clips are called 'exc'" in notes("csv", root, **{**options, "emotions": "nothing:"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has no column 'speaker'; say what gives it"),
        ({"speaker": "whom"}, "no column 'whom'; did you mean 'who'"),
        ({"speaker": "{whom}"}, "no column 'whom'; did you mean 'who'"),
        ({"speaker": "who", "emotions": "x:angry"}, "'angry' is not one of .*; did you mean 'anger'"),
        ({"speaker": "who", "path": "=/abs"}, "row 2: path: .*absolute"),
        ({"table": "no.csv"}, "no CSV files"),
        ({"delimiter": "ab"}, "delimiter"),
    ],
)
def test_csv_says_what_it_cannot_map(tree, options, message):
    root = tree({"labels.csv": "clip_id,corpus,path,who\na,c,a.wav,Ann\n"})
    with pytest.raises(InputError, match=message):
        read_corpus("csv", root, **options)


# --- rules of votes


def test_rules():
    tied = {"anger": 3.0, "fear": 3.0, "neutral": 1.0}
    drawn = Counter(label_from_votes(tied, "all_inclusive", seed=f"0:{i}") for i in range(400))
    assert set(drawn) == {"anger", "fear"}
    assert min(drawn.values()) > 150
    assert label_from_votes(tied, "plurality") == label_from_votes(tied, "majority") == ""
    assert label_from_votes({"anger": 2.0, "other": 3.0}, "plurality") == ""  # "other" wins, and is no class
    assert label_from_votes({"anger": 2.0, "other": 2.0}, "majority") == ""
    assert label_from_votes({"anger": 3.0, "fear": 2.0, "neutral": 1.0}, "majority") == ""  # half is no majority
    assert label_from_votes({"anger": 4.0, "fear": 2.0, "neutral": 1.0}, "majority") == "anger"
    assert label_from_votes({}, "all_inclusive") == ""


# --- what all readers share


@pytest.mark.parametrize("name", list(CORPORA))
def test_a_folder_without_the_corpus_is_refused_with_an_example(tmp_path, name):
    with pytest.raises(InputError, match=r"looked for names such as \S+"):
        read_corpus(name, tmp_path)


@pytest.mark.parametrize("name", list(CORPORA))
def test_every_reader_says_where_its_corpus_comes_from(name):
    about = CORPORA[name].about
    assert about.title
    assert about.source
    assert about.terms
    assert all(field.description for field in CORPORA[name].Options.model_fields.values())
    readme = (ROOT / "data_manifests" / "README.md").read_text()
    assert f"`{name}`" in readme
    assert all(f"`{option}`" in readme for option in CORPORA[name].Options.model_fields if name != "csv")


def test_the_schema_table_of_the_readme_is_complete():
    from pipeline.manifest.table import COLUMNS

    readme = (ROOT / "data_manifests" / "README.md").read_text()
    plain = [column for column in COLUMNS if not column.startswith("votes_")]
    assert [column for column in plain if f"| `{column}` |" not in readme] == []
    assert all(emotion in readme for emotion in EMOTIONS)


def test_unknown_names_are_answered_with_the_known_ones(tree):
    root = tree(["a.wav"])
    with pytest.raises(InputError, match="unknown corpus 'crema'; known: crema_d, csv"):
        read_corpus("crema", root)
    with pytest.raises(InputError, match=r"no option 'speeker'; did you mean 'speaker'.*Options: corpus"):
        read_corpus("folder", root, speeker="x")
    with pytest.raises(InputError, match=r"option media: .*'video'"):
        read_corpus("folder", root, media="films")
    with pytest.raises(InputError, match="there is no folder"):
        read_corpus("folder", root / "nowhere")


# --- making a manifest


def test_make_manifest_writes_what_check_manifest_reads(tree, tmp_path):
    root = tree(["Actor_01/03-01-06-01-02-01-01.wav", "Actor_02/03-01-05-02-02-01-02.wav"])
    summary = make_manifest("ravdess", root=root, output=tmp_path / "m.csv")
    rows, problems = check_manifest(tmp_path / "m.csv", root)
    assert not problems
    assert rows["path"].tolist() == ["Actor_02/03-01-05-02-02-01-02.wav", "Actor_01/03-01-06-01-02-01-01.wav"]
    assert (summary.rows, summary.total, summary.speakers, summary.emotions) == (2, 2, 2, {"anger": 1, "fear": 1})
    text = str(summary)
    assert "2 clips of ravdess" in text
    assert "CC BY-NC-SA 4.0" in text
    assert "2 of 1440 published clips: 1438 missing" in text
    assert "22 of 24 published speakers have no clip: 03, 04" in text


def test_two_corpora_below_one_base_share_a_manifest(tree, tmp_path):
    base = tree(["grid/s1/bbaf2n.mpg", "grid/s1/bbaf2n.align", "court/one.mp4"])
    output = tmp_path / "m.csv"
    make_manifest("grid", root=base / "grid", base=base, output=output)
    summary = make_manifest("folder", root=base / "court", base=base, output=output, append=True)
    rows, problems = check_manifest(output, base)
    assert not problems
    assert sorted(rows["path"]) == ["court/one.mp4", "grid/s1/bbaf2n.mpg"]
    assert rows["alignment"].dropna().tolist() == ["grid/s1/bbaf2n.align"]
    assert (summary.rows, summary.total) == (1, 2)
    before = output.read_bytes()
    with pytest.raises(InputError, match=r"has 1 of these clips already \(court/one\)"):
        make_manifest("folder", root=base / "court", base=base, output=output, append=True)
    assert output.read_bytes() == before


def test_append_refuses_a_manifest_that_is_wrong(tree, tmp_path):
    root = tree(["a.wav"])
    (tmp_path / "m.csv").write_text("clip_id,corpus,path,speaker\nx,c,/abs.wav,s\n")
    with pytest.raises(InputError, match="row 2: path"):
        make_manifest("folder", root=root, output=tmp_path / "m.csv", append=True)


def test_label_sources_cannot_be_appended_to_each_other(tree, tmp_path):
    csv = "clip_id,corpus,path,speaker,emotion,label_source\n"
    root = tree({"one.csv": csv + "a,c,a.wav,s,anger,voice\n", "two.csv": csv + "b,c,b.wav,s,fear,acted\n"})
    make_manifest("csv", root=root, output=tmp_path / "m.csv", options={"table": "one.csv"})
    with pytest.raises(InputError, match=r"mixes the label_source 'voice' \(a\) and 'acted' \(b\)"):
        make_manifest("csv", root=root, output=tmp_path / "m.csv", append=True, options={"table": "two.csv"})


def test_the_root_must_be_inside_the_base(tree, tmp_path):
    root = tree(["a.wav"])
    with pytest.raises(InputError, match="is not inside the base"):
        make_manifest("folder", root=root, base=tmp_path / "elsewhere", output=tmp_path / "m.csv")


def test_pointers_of_git_lfs_are_listed_and_named_with_the_remedy(tree, tmp_path):
    root = tree({"AudioWAV/1001_DFA_ANG_XX.wav": LFS, "AudioWAV/1002_DFA_SAD_XX.wav": "RIFF"})
    summary = make_manifest("crema_d", root=root, output=tmp_path / "m.csv", options={"labels": "acted"})
    assert summary.rows == 2
    assert "Git-LFS pointers, not media: 1 (AudioWAV/1001_DFA_ANG_XX.wav); run `git lfs pull`" in str(summary)


def test_a_broken_table_of_a_corpus_is_an_input_error(tree, tmp_path):
    table = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Split_Set\nMSP-PODCAST_0001_0008.wav,N,much,4,2.6,1,Train\n"
    root = tree({"Audios/MSP-PODCAST_0001_0008.wav": "", "Labels/labels_consensus.csv": table})
    with pytest.raises(InputError, match=r"msp_podcast below .* cannot be read: .*much"):
        make_manifest("msp_podcast", root=root, output=tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()
