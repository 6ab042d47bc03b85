"""Rated corpora, whose labels are in tables."""

from __future__ import annotations

import json

from pipeline.corpora import read_corpus
from tests.pipeline.corpora.conftest import by_id, notes

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
    listed = notes("meld", root)
    assert all(text in listed for text in ("known bad", "test dia0_utt9", "no dev_sent_emo.csv", "split left empty"))


def test_meld_keeps_windows_quotes_and_leaves_out_clips_of_minutes(tree):
    header = "Sr No.,Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\n"
    table = f"{header}1,It\x92s \x93fine\x94\x85 no\x97wait,Ross,neutral,0,0\n2,Hi,Ross,joy,38,4\n3,Hi,Ross,joy,220,0\n"
    films = dict.fromkeys((f"output_repeated_splits_test/{name}.mp4" for name in ("dia0_utt0", "dia38_utt4")), "")
    root = tree({"test_sent_emo.csv": table, **films})
    (row,) = read_corpus("meld", root)
    assert row.sentence == "It\u2019s \u201cfine\u201d\u2026 no\u2014wait"
    assert "2 left out: known bad: cut wrongly, minutes instead of one utterance" in notes("meld", root)
