"""The manifest as a file: what is no manifest, and what is written is read back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.manifest.csv_file import write_manifest
from pipeline.manifest.row import COLUMNS, EMOTIONS, LABEL_RULES, LABEL_SOURCES, SPLITS, ManifestRow
from pipeline.manifest.table import check_manifest, read_rows
from tests.pipeline.manifest.conftest import row


def test_spreadsheet_habits_are_understood(tmp_path, make):
    path, root = make("")
    path.write_bytes(b'\xef\xbb\xbfclip_id, corpus ,path,speaker\r\n a ,c,"x, y.wav",s\r\n')
    rows, problems = check_manifest(path, root)
    assert not problems
    assert rows[["clip_id", "corpus", "path"]].iloc[0].tolist() == ["a", "c", "x, y.wav"]


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no\.csv: there is no such manifest file; make one with"):
        check_manifest(tmp_path / "no.csv", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x00\x00\x18ftypmp42\xff\xfe", "not a text file in UTF-8"),
        (b"", "the first row is empty"),
        (b"\n\n", "the first row is empty"),
        (b"clip_id,corpus,path,speaker\n", "no row"),
        (b"clip_id;corpus;path;speaker\na;c;a.wav;s\n", "not separated by commas"),
        (b'clip_id,corpus,path,speaker\n"a,c,a.wav,s\n', "not CSV"),
        (b"clip_id,corpus,path,speaker,speaker\na,c,a.wav,s,s\n", "column 'speaker' appears twice"),
        (b"clip_id,corpus,path\na,c,a.wav\n", "column 'speaker' is missing"),
        (b"clip_id,corpus,path,speeker\na,c,a.wav,s\n", "unknown column 'speeker' .column 4.; did you mean 'speaker'"),
        (b"clip_id,corpus,path,speaker,votes_angry\na,c,a.wav,s,1\n", "did you mean 'votes_anger'"),
        (b"clip_id,corpus,path,speaker,\na,c,a.wav,s,1\n", "unknown column ''"),
    ],
)
def test_what_is_no_manifest_is_refused(make, content, message):
    path, root = make("")
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        check_manifest(path, root)
    assert str(path) in str(error.value)


def test_written_in_one_order_with_the_columns_that_hold_something(tmp_path):
    rows = [row("b", emotion="fear"), row("a", start=0.5, end=2.0, votes_anger=3.0)]
    write_manifest(rows, tmp_path / "new" / "m.csv")
    assert (tmp_path / "new" / "m.csv").read_text().splitlines() == [
        "clip_id,corpus,path,speaker,split,fold,start,end,emotion,votes_anger",
        "a,c,a.wav,s,,,0.5,2,,3",
        "b,c,a.wav,s,,,,,fear,",
    ]
    write_manifest(rows[::-1], tmp_path / "other.csv")
    assert (tmp_path / "other.csv").read_bytes() == (tmp_path / "new" / "m.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other.csv"]  # no temporary file is left


def test_an_id_is_not_written_twice(tmp_path):
    with pytest.raises(InputError, match="written twice, the first is 'a'"):
        write_manifest([row("a"), row("a")], tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8).map(str.strip)


NAME = TEXT.filter(bool)


IDENTIFIER = NAME.map(lambda text: text.replace("#", "_"))


PATH = st.lists(
    NAME.map(lambda text: text.replace("/", "_").replace("\\", "_").replace(":", "_")), min_size=1, max_size=3
)


PATHS = PATH.map("/".join).filter(lambda path: ".." not in path.split("/") and path.strip())


NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)


COUNT = st.none() | st.floats(0, 1e300)


@st.composite
def rows_of_a_manifest(draw):
    ids = draw(st.lists(IDENTIFIER, min_size=1, max_size=5, unique=True))
    made = []
    for clip_id in ids:
        start = draw(st.none() | st.floats(0, 1e6))
        end = draw(st.none() | st.floats(1e-3, 1e6).map(lambda length, start=start: (start or 0.0) + length))
        votes = {name: draw(COUNT) for name in COLUMNS if name.startswith("votes_")}
        made.append(
            ManifestRow(
                clip_id=clip_id,
                corpus=draw(NAME),
                path=draw(PATHS),
                speaker=draw(NAME),
                split=draw(st.sampled_from(["", *SPLITS])),
                fold=draw(TEXT),
                start=start,
                end=end,
                emotion=draw(st.sampled_from(["", *EMOTIONS])),
                label_source=draw(st.sampled_from(["", *LABEL_SOURCES])),
                label_rule=draw(st.sampled_from(["", *LABEL_RULES])),
                **votes,
                arousal=draw(NUMBER),
                valence=draw(NUMBER),
                dominance=draw(NUMBER),
                intensity=draw(COUNT),
                sentence=draw(TEXT),
                alignment=draw(st.just("") | PATHS),
                language=draw(TEXT),
            )
        )
    return made


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows_of_a_manifest())
def test_what_is_written_is_read_back(tmp_path, rows):
    write_manifest(rows, tmp_path / "m.csv")
    assert read_rows(tmp_path / "m.csv") == sorted(rows, key=lambda row: (row.corpus, row.clip_id))
    first = (tmp_path / "m.csv").read_bytes()
    write_manifest(read_rows(tmp_path / "m.csv"), tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_bytes() == first
