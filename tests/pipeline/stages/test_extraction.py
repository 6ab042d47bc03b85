"""The stages on real media, good and bad, from manifest to shards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pandas as pd
import pytest

from pipeline.engine.tables import read_metadata
from pipeline.errors import InputError
from pipeline.media import ffmpeg_exe
from pipeline.params import Params
from pipeline.stages.acoustics import run_acoustics
from pipeline.stages.audio import run_audio
from pipeline.stages.extraction import media_items
from pipeline.stages.faces import run_faces
from pipeline.stages.functionals import run_functionals
from pipeline.stages.pseudo_labels import run_pseudo_labels
from pipeline.stages.segments import run_segments
from pipeline.stages.shards import run_shards
from pipeline.stages.summary import run_summary
from tests.pipeline.faces import ALONE, NONE


def ffmpeg(*arguments):
    subprocess.run([ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A folder of real films and everything that goes wrong with films."""
    root = tmp_path_factory.mktemp("media")
    source = ALONE
    whole = source.read_bytes()
    (root / "good.mp4").write_bytes(whole)
    (root / "no_face.mp4").write_bytes(NONE.read_bytes())
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("this is not a film\n" * 50)
    (root / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "pointer.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    ffmpeg("-i", source, "-vn", root / "audio_only.wav")
    ffmpeg("-i", source, "-an", "-c:v", "copy", root / "video_only.mp4")
    ffmpeg("-i", source, "-t", "0.2", root / "short.mp4")
    (root.parent / "outside.mp4").write_bytes(whole)
    return root


def write_manifest(path, names, **columns):
    rows = [
        {"clip_id": Path(name).stem, "corpus": "test", "path": name, "speaker": f"s{i % 3}"}
        for i, name in enumerate(names)
    ]
    pd.DataFrame(rows).assign(**columns).to_csv(path, index=False)


def make_params(root, manifest, labelled=None):
    chosen = {"manifest": manifest, "root": root}
    return Params.model_validate(
        {
            "sets": {"unlabelled": chosen, "labelled": chosen | ({"manifest": labelled} if labelled else {})},
            "run": {"workers": 2, "max_failed_share": 1.0},
        }
    )


BAD = [
    "missing.mp4",
    "empty.mp4",
    "text.mp4",
    "truncated.mp4",
    "pointer.mp4",
    "video_only.mp4",
    "short.mp4",
    "../outside.mp4",
]


def test_bad_media_is_quarantined_by_name_and_the_rest_goes_through(media, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["good.mp4", "audio_only.wav", "no_face.mp4", *BAD]
    write_manifest(tmp_path / "m.csv", names)
    with (tmp_path / "m.csv").open("a") as handle:
        handle.write("good,test,no_face.mp4,s1\n")  # a second clip of the same name
    labels = {"emotion": "anger", "label_source": "voice", "label_rule": "majority", "fold": "S1"}
    labels |= {"votes_anger": 3.0, "votes_other": 1.0, "arousal": 2.5, "intensity": 2.0}
    write_manifest(tmp_path / "l.csv", ["audio_only.wav"], **labels)
    params = make_params(media, tmp_path / "m.csv", tmp_path / "l.csv")
    for name in ("unlabelled", "labelled"):
        run_segments(params, name)
        run_audio(params, name)
        run_acoustics(params, name)
    run_functionals(params, "labelled")
    run_faces(params, "unlabelled")
    run_pseudo_labels(params)
    for name in ("unlabelled", "labelled"):
        run_shards(params, name)
    run_summary(params)

    segments = pd.read_parquet("data/segments/unlabelled").set_index("segment_id")
    assert len(segments) == len(names) + 1  # nothing vanishes
    good = segments[segments["status"] == "ok"].index
    assert set(good) == {"good#000", "audio_only#000", "no_face#000"}
    reasons = segments[segments["status"] != "ok"].set_index("clip_id")["reason"]
    for clip, word in {
        "missing": "not found|no such|missing|does not exist",
        "empty": "empty",
        "text": "not|cannot",
        "truncated": "truncated|cut off|incomplete|moov",
        "pointer": "git lfs pull",
        "video_only": "audio|sound",
        "short": "shorter|short",
        "outside": "outside",
    }.items():
        matching = [reason for name, reason in reasons.items() if clip in name]
        assert matching, clip
        assert pd.Series(matching).str.contains(word, case=False, regex=True).all(), matching
    assert (
        reasons[[name for name in reasons.index if name.startswith("good")]]
        .str.contains("duplicate|twice|already")
        .all()
    )

    faces = pd.read_parquet("data/faces/unlabelled").set_index("segment_id")
    assert faces["status"].to_dict() == {
        "good#000": "ok",
        "audio_only#000": "quarantined",
        "no_face#000": "quarantined",
    }
    assert "video" in faces.loc["audio_only#000", "reason"]
    assert "face" in faces.loc["no_face#000", "reason"]

    pseudo = pd.read_parquet("data/pseudo_labels").set_index("segment_id")
    assert pseudo.loc["good#000", ["t2_label", "t3_confidence"]].notna().all()  # T3 may abstain, but was measured
    assert pseudo.loc["audio_only#000", ["t2_label", "t3_label"]].isna().all()
    assert "video" in pseudo.loc["audio_only#000", "t2_reason"]
    assert not any(isinstance(value, list) for value in pseudo.iloc[0])

    functionals = pd.read_parquet("data/functionals/labelled")
    assert functionals["segment_id"].tolist() == ["audio_only#000"]
    described = read_metadata(Path("data/functionals/labelled"))["sets"]
    for name, size in (("egemaps", 88), ("compare", 6373)):
        assert len(functionals.loc[0, name]) == len(described[name]["feature_names"]) == size

    shards = pd.read_parquet("data/shards/labelled")
    width = len(read_metadata(Path("data/shards/labelled"))["feature_names"])
    assert shards.loc[0, list(labels)].to_dict() == labels  # nothing that a result must say is lost on the way
    assert len(shards.loc[0, "features"]) == shards.loc[0, "n_frames"] * width


def test_a_wrong_column_is_an_error_that_names_it(media, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest(tmp_path / "m.csv", ["good.mp4"], speeker="x")
    with pytest.raises(InputError, match="speeker"):
        run_segments(make_params(media, tmp_path / "m.csv"), "unlabelled")


def test_an_item_is_known_by_its_content_and_not_by_its_place():
    row = {"segment_id": "a#000", "start": 0.5, "end": 2.0, "has_audio": True, "has_video": True, "content_hash": "c"}
    (here,) = media_items([row | {"path": "a.mp4"}], Path("/films"))
    (there,) = media_items([row | {"path": Path("/other/a.mkv")}], Path("/films"))
    assert here.inputs == there.inputs == {"content": "c", "start": 0.5, "end": 2.0}
    assert [item.load()["media_path"] for item in (here, there)] == ["/films/a.mp4", "/other/a.mkv"]
