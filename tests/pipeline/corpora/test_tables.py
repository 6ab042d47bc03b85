"""One strict reader of tables."""

from __future__ import annotations

import pytest

from pipeline.corpora import read_corpus
from pipeline.corpora.tables import read_columns, read_table
from pipeline.errors import InputError

ROWS = {2: {"file": "a", "text": "Hello, you"}, 3: {"file": "b", "text": "Grüße; du"}}
TEXTS = {",": 'file,text\na,"Hello, you"\nb,Grüße; du\n', ";": 'file;text\na;Hello, you\nb;"Grüße; du"\n',
         "\t": "file\ttext\na\tHello, you\nb\tGrüße; du\n"}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", list(TEXTS))
def test_tables_as_programs_save_them(tmp_path, delimiter, line_end, encoding):
    if encoding == "cp1252" and line_end == "\r":
        encoding = "mac-roman"  # programs that end lines so
    path = tmp_path / "t.csv"
    path.write_bytes(TEXTS[delimiter].replace("\n", line_end).encode(encoding))
    assert read_table(path, delimiter).rows == ROWS
    assert read_columns(path, "file", "text", corpus="X") == list(ROWS.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,text\na,Hello, you\n", "row 2: it has 3 fields, the header 2; put a text that holds ',' .* in quotes"),
        ("file,text\nx,y\n\na,Hello\nyou\n", "row 5: it has 1 fields, the header 2"),
        ("file,text,file\n", "column 'file' appears twice"),
        ("file;text\na;b\n", "one column, 'file;text'; .* try delimiter=;"),
        ("file\ttext\na\tb\n", r"try delimiter=\\t"),
        ('file,text\na,"Hello\n', "is not CSV"),
        ("\n\n", "is empty"),
    ],
)
def test_what_is_no_whole_table_is_named(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t.csv", ",")


def test_the_reader_csv_takes_a_tab_as_people_write_it_and_guesses_a_wrong_separator(tree):
    root = tree({"t.tsv": TEXTS["\t"], "mixed.csv": "file;who, name;text\na;b, c;d\n"})
    options = {"clip_id": "file", "path": "{file}.wav", "corpus": "=x", "speaker": "=s", "sentence": "text"}
    rows = read_corpus("csv", root, table="t.tsv", delimiter=r"\t", **options)
    assert [row.sentence for row in rows] == ["Hello, you", "Grüße; du"]
    with pytest.raises(InputError, match=r"no column 'file'.* try delimiter=;"):
        read_corpus("csv", root, table="mixed.csv", **options)
    with pytest.raises(InputError, match="delimiter"):
        read_corpus("csv", root, table="t.tsv", delimiter='"', **options)
