"""Alignments in every format they come in, and how each says that it is wrong."""

from __future__ import annotations

import pytest
from praatio.textgrid import IntervalTier, PointTier, Textgrid

from pipeline.errors import InputError
from pipeline.orofacial.alignment import Alignment, Span, read_alignment

LRS = "Text:  GOOD MORNING\nConf:  4\n\nWORD START END ASDSCORE\nGOOD 0.10 0.35 5.2\nMORNING 0.35 0.80 6.1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 10", "line 1"),
        ("0 x sil", "line 1"),
        ("0 9 sil\n5 20 bin", "'bin' at 0.0002 s .* begins before"),
        ("9 5 bin", "ends before"),
        ("-25000 25000 bin", "begins before"),
    ],
)
def test_a_bad_alignment_of_grid_is_named(tmp_path, text, message):
    path = tmp_path / "bad.align"
    path.write_text(text)
    with pytest.raises(InputError, match=f"bad.align.*{message}"):
        read_alignment(path)


def test_a_missing_file_and_an_unknown_format_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.align: alignment cannot be read"):
        read_alignment(tmp_path / "none.align")
    with pytest.raises(InputError, match=r"none\.TextGrid: alignment cannot be read"):
        read_alignment(tmp_path / "none.TextGrid")
    with pytest.raises(InputError, match=r"a\.ctm: an alignment is \.align, \.txt, \.textgrid"):
        read_alignment(tmp_path / "a.ctm")


def test_the_transcript_of_lrs_gives_words(tmp_path):
    """Regression: the adapter `lrs` named transcripts as alignments, which only GRID's format could be read from."""
    path = tmp_path / "00001.txt"
    path.write_text(LRS)
    assert read_alignment(path) == Alignment([Span(0.1, 0.35, "good"), Span(0.35, 0.8, "morning")], [])
    path.write_text(LRS.replace("0.35 0.80", "later 0.80"))
    with pytest.raises(InputError, match="line 6: 'MORNING later"):
        read_alignment(path)
    path.write_text(LRS.partition("WORD")[0])
    with pytest.raises(InputError, match="has no times"):
        read_alignment(path)


@pytest.mark.parametrize("layout", ["short_textgrid", "long_textgrid"])
@pytest.mark.parametrize("prefix", ["", "spk1 - "])
def test_a_textgrid_gives_words_and_phones(tmp_path, layout, prefix):
    grid = Textgrid(0, 1.0)
    grid.addTier(PointTier("phones", [(0.5, "click")], 0, 1.0) if prefix else IntervalTier("pitch", [], 0, 1.0))
    grid.addTier(IntervalTier(f"{prefix}words", [(0.2, 0.6, "Two")], 0, 1.0))
    grid.addTier(IntervalTier(f"{prefix}phones", [(0.2, 0.3, "T"), (0.3, 0.6, "UW1")], 0, 1.0))
    path = tmp_path / "a.TextGrid"
    grid.save(str(path), format=layout, includeBlankSpaces=True)
    words, phones = read_alignment(path)
    assert words == [Span(0.0, 0.2, "sil"), Span(0.2, 0.6, "two"), Span(0.6, 1.0, "sil")]
    assert phones == [Span(0.0, 0.2, ""), Span(0.2, 0.3, "T"), Span(0.3, 0.6, "UW1"), Span(0.6, 1.0, "")]


def test_a_bad_textgrid_is_named(tmp_path):
    path = tmp_path / "bad.TextGrid"
    for text in ("", "0 10 sil\n", 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<exists>\n2\n'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"bad\.TextGrid: no (TextGrid that|interval tier)"):
            read_alignment(path)
    grid = Textgrid(0, 1.0)
    grid.addTier(IntervalTier("notes", [(0.2, 0.6, "x")], 0, 1.0))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)
    with pytest.raises(InputError, match=r"no interval tier 'phones' or 'words' among notes"):
        read_alignment(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_words_are_read_in_any_encoding(tmp_path, encoding):
    path = tmp_path / "a.align"
    path.write_bytes("0 14500 sil\r\n14500 20000 T\u00fcten\r\n".encode(encoding))
    assert [span.name for span in read_alignment(path).words] == ["sil", "t\u00fcten"]
