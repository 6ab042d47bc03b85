"""The making of a manifest, and its summary."""

from __future__ import annotations

import pytest

from pipeline.corpora import make_manifest
from pipeline.errors import InputError
from pipeline.manifest.table import check_manifest

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n"


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
    assert "cite: Livingstone & Russo, PLoS ONE 13(5) e0196391 (2018)" in text
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
