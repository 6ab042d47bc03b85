"""Any CSV."""

from __future__ import annotations

import pytest

from pipeline.corpora import read_corpus
from pipeline.errors import InputError
from tests.pipeline.corpora.conftest import notes


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
