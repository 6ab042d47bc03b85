"""Speakers and label sources that would make results meaningless are refused."""

from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.manifest.table import check_manifest


@pytest.mark.parametrize(("column", "cells"), [("split", ("train,", "test,")), ("fold", (",1", ",2"))])
def test_a_leaking_speaker_is_named(make, column, cells):
    first, second = cells
    path, root = make(
        f"a,c,a.wav,anna,{first},,,,,,\nb,c,b.wav,ben,{first},,,,,,\n"
        f"d,other,d.wav,anna,{second},,,,,,\ne,c,e.wav,anna,{second},,,,,,\n"
    )
    with pytest.raises(InputError, match=rf"speaker 'anna' of c is in {column} .*\(row 2\) and .*\(row 5\)"):
        check_manifest(path, root)


def test_the_same_name_in_two_corpora_is_two_speakers(make):
    path, root = make("a,c,a.wav,1,train,,,,,,,\nb,d,b.wav,1,test,,,,,,,\n")
    rows, problems = check_manifest(path, root)
    assert (len(rows), problems) == (2, [])


def test_label_sources_are_not_mixed_within_a_corpus(make):
    path, root = make("a,c,a.wav,s,,,,,anger,voice,,\nb,c,b.wav,s,,,,,anger,acted,,\n")
    with pytest.raises(InputError, match=r"c mixes the label_source 'voice' \(row 2\) and 'acted' \(row 3\)"):
        check_manifest(path, root)
