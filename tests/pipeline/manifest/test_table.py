"""A manifest read: usable rows, problems, and what is wrong with the table as a whole."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.manifest.table import check_manifest, read_rows


def test_a_good_manifest_becomes_a_table(make):
    rows, problems = check_manifest(*make("a,c,x/a.wav,001,train,,0.5,2,anger,voice,3,4.5\n\nb,c,b.wav,NA,,,,,,,,\n"))
    assert problems == []
    assert rows.index.tolist() == [2, 4]  # as a spreadsheet counts, the blank row 3 included
    assert rows["speaker"].tolist() == ["001", "NA"]  # neither a number nor a missing value
    assert rows.loc[2, ["start", "end", "votes_anger", "arousal"]].tolist() == [0.5, 2.0, 3.0, 4.5]
    assert rows.loc[4, ["split", "emotion", "start", "votes_anger"]].isna().all()
    assert "votes_fear" not in rows.columns
    assert {column: str(rows[column].dtype) for column in ("clip_id", "emotion", "end", "dominance")} == {
        "clip_id": "str", "emotion": "str", "end": "float64", "dominance": "float64",
    }  # fmt: skip


def test_root_must_be_a_folder(make):
    path, root = make("a,c,a.wav,s,,,,,,,,\n")
    with pytest.raises(InputError, match="is not a folder"):
        check_manifest(path, root / "nowhere")


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        (",c,a.wav,s,,,,,,,,", "clip_id", "clip_id: it is empty"),
        ("a,c,a.wav,,,,,,,,,", "speaker", "speaker: it is empty"),
        ("a#1,c,a.wav,s,,,,,,,,", "clip_id", "holds '#'"),
        ("a,c,/etc/passwd,s,,,,,,,,", "path", "absolute path"),
        ("a,c,C:/film.mp4,s,,,,,,,,", "path", "absolute path"),
        ("a,c,../film.mp4,s,,,,,,,,", "path", "outside the root by '..'"),
        ("a,c,x/../film.mp4,s,,,,,,,,", "path", "outside the root by '..'"),
        ("a,c,x\\film.mp4,s,,,,,,,,", "path", "backslashes"),
        ("a,c,http://host/film.mp4,s,,,,,,,,", "path", "only local files"),
        ("a,c,a.wav,s,val,,,,,,,", "split", "'val' is not one of train, dev, test (or empty); did you mean 'dev'"),
        ("a,c,a.wav,s,,,,,angry,,,", "emotion", "did you mean 'anger'"),
        ("a,c,a.wav,s,,,,,anger,audio,,", "label_source", "did you mean 'voice'"),
        ('a,c,a.wav,s,,,"0,5",2,,,,', "start", "'0,5' is not a number; write it with a point"),
        ("a,c,a.wav,s,,,-1,2,,,,", "start", "less than 0"),
        ("a,c,a.wav,s,,,3,2,,,,", "end", "ends at 2.0 s, not after its start 3.0 s"),
        ("a,c,a.wav,s,,,,0,,,,", "end", "not after its start"),
        ("a,c,a.wav,s,,,,,,,-2,", "votes_anger", "less than 0"),
        ("a,c,a.wav,s,,,,,,,,nan", "arousal", "not a finite number"),
        ("a,c,a.wav,s,,,,,,,,1e999", "arousal", "not a finite number"),
        ("a,c,a.wav", "", "it has 3 fields, the header 12"),
        ("a,c,a,wav,s,,,,,,,,", "", "it has 13 fields, the header 12"),
        ('"a\nb",c,a.wav,s,,,,,,,,', "clip_id", "control character"),
    ],
)
def test_a_bad_row_is_a_problem_and_the_rest_goes_on(make, line, column, message):
    rows, problems = check_manifest(*make(f"good,c,good.wav,t,train,1,,,,,,\n{line}\nlast,c,last.wav,t,,,,,,,,\n"))
    assert rows["clip_id"].tolist() == ["good", "last"]
    (problem,) = problems
    assert (problem.row, problem.column) == (3, column)
    assert problem.message.startswith("row 3: ")
    assert message in problem.message


def test_all_faults_of_a_row_are_told_at_once(make):
    _, problems = check_manifest(*make("a,c,/x,s,val,,x,,,,,\n"))
    assert problems[0].column == "path"
    assert all(word in problems[0].message for word in ("path: ", "split: ", "start: "))


def test_later_uses_of_an_id_are_problems_with_ids_of_their_own(make):
    text = "x,c,1.wav,s,,,,,,,,\nx~row4,c,2.wav,s,,,,,,,,\nx,c,3.wav,s,,,,,,,,\nx,c,4.wav,s,,,,,,,,\n"
    rows, problems = check_manifest(*make(text))
    assert rows["clip_id"].tolist() == ["x", "x~row4"]
    assert [problem.clip_id for problem in problems] == ["x~row4~", "x~row5"]
    assert "row 4" in problems[0].message
    assert "already used in row 2" in problems[0].message


def test_every_row_can_be_listed_under_an_id_of_its_own(make):
    lines = [",c,a.wav,s,,,,,,,,", ",c,b.wav,s,,,,,,,,", "b#1,c,a.wav,s,,,,,,,,", "e,c,/x,s,,,,,,,,", "e,c,e,s,,,,,,,,"]
    rows, problems = check_manifest(*make("\n".join([*lines, "ok,c,ok.wav,s,,,,,,,,"])))
    ids = [*rows["clip_id"], *(problem.clip_id for problem in problems)]
    assert len(set(ids)) == len(lines) + 1
    assert all(clip_id and "#" not in clip_id for clip_id in ids)
    assert problems[3].clip_id == "e"  # the first use of an id keeps it even when its row is bad
    assert problems[3].cells["path"] == "/x"


def test_links_out_of_the_root_are_problems_and_links_within_are_not(make, tmp_path):
    path, root = make(
        "in,c,in.wav,s,,,,,,,,\nout,c,out.wav,s,,,,,,,,\nfolder,c,away/secret.wav,s,,,,,,,,\nloop,c,loop.wav,s,,,,,,,,\n"
    )
    (tmp_path / "secret.wav").touch()
    (root / "real.wav").touch()
    (root / "in.wav").symlink_to(root / "real.wav")
    (root / "out.wav").symlink_to(tmp_path / "secret.wav")
    (root / "away").symlink_to(tmp_path)
    (root / "loop.wav").symlink_to(root / "loop.wav")
    rows, problems = check_manifest(path, root)
    assert rows["clip_id"].tolist() == ["in"]
    assert [problem.clip_id for problem in problems] == ["out", "folder", "loop"]
    assert "link that leads outside the root" in problems[0].message
    assert "cannot be followed" in problems[2].message


def test_a_root_that_is_a_link_itself_is_fine(make, tmp_path):
    path, root = make("a,c,a.wav,s,,,,,,,,\n")
    (root / "a.wav").touch()
    (tmp_path / "link").symlink_to(root)
    rows, problems = check_manifest(path, tmp_path / "link")
    assert (len(rows), problems) == (1, [])


def test_a_path_too_long_for_the_system_is_a_problem(make):
    _, problems = check_manifest(*make(f"a,c,{'x' * 300}/{'y' * 5000},s,,,,,,,,\nb,c,b.wav,s,,,,,,,,\n"))
    assert "cannot be followed" in problems[0].message
    assert len(problems[0].message) < 500


def test_the_strict_reader_lists_the_problems(make):
    path, _ = make("a,c,/x,s,,,,,,,,\nb,c,a.wav,,,,,,,,,\n")
    with pytest.raises(InputError, match=r"(?s)2 rows are wrong:.*row 2: path.*row 3: speaker: it is empty"):
        read_rows(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(["", "a", "b", "..", "/x", "1", "-1", "test", "anger"]), min_size=6, max_size=6))
)
def test_no_row_vanishes(tmp_path, cells):
    """Whatever the cells say, each non-empty row is a usable row or a problem, under ids that differ."""
    path = tmp_path / "m.csv"
    path.write_text("\n".join(["clip_id,corpus,path,speaker,start,emotion", *(",".join(line) for line in cells)]))
    filled = [line for line in cells if any(line)]
    if not filled:
        return
    rows, problems = check_manifest(path, tmp_path)
    ids = [*rows["clip_id"], *(problem.clip_id for problem in problems)]
    assert len(ids) == len(set(ids)) == len(filled)
    assert sorted([*rows.index, *(problem.row for problem in problems)]) == [
        number for number, line in enumerate(cells, start=2) if any(line)
    ]


def test_a_manifest_of_many_rows_is_quick(make):
    count = 20_000
    path, root = make("".join(f"c{i},c,f{i % 50}/{i}.wav,s{i % 50},,,,,,,,\n" for i in range(count)))
    rows, problems = check_manifest(path, root)
    assert (len(rows), problems) == (count, [])
    assert isinstance(rows, pd.DataFrame)
    assert math.isnan(rows["arousal"].iloc[0])


def test_names_that_differ_in_unicode_form_alone_are_one(make):
    composed, decomposed = "Jos\u00e9", "Jose\u0301"
    table = "a,c,{0}/1.wav,{0},train,,,,,,,\nb,c,{1}/2.wav,{1},test,,,,,,,\n"
    with pytest.raises(InputError, match=r"speaker 'Jos\u00e9' of c is in split 'train' .* and 'test'"):
        check_manifest(*make(table.format(composed, decomposed)))
    table = f"{composed},c,1.wav,s,,,,,,,,\n{decomposed},c,2.wav,s,,,,,,,,\n"
    _, problems = check_manifest(*make(table))
    assert "already used in row 2" in problems[0].message


def test_a_link_is_checked_under_the_name_on_disk(make, tmp_path):
    path, root = make("a,c,\u00e9.wav,s,,,,,,,,\n")
    (root / "e\u0301.wav").symlink_to(tmp_path / "secret.wav")
    _, problems = check_manifest(path, root)
    assert "link that leads outside the root" in problems[0].message
