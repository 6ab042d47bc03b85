"""Readers on real corpora and CREMA-D's real vote tables, where a sibling folder ``../shared`` has them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.corpora import make_manifest, make_reader, read_corpus
from pipeline.corpora.crema_d import ACTORS, LETTERS, SESSIONS, read_ratings, session
from pipeline.corpora.making import compare
from pipeline.errors import InputError
from pipeline.manifest.table import check_manifest
from tests import SHARED

DATA = SHARED / "data"


@pytest.fixture(scope="module")
def real():
    def corpus(name):
        if not (DATA / name).is_dir():
            pytest.skip(f"needs the real corpus {name} in ../shared/data")
        return DATA / name

    return corpus


@pytest.fixture(scope="module")
def whole_crema(real, tmp_path_factory):
    """The real tables with an empty file in place of each of the 7,442 clips."""
    source, root = real("crema_d"), tmp_path_factory.mktemp("crema_d")
    (root / "AudioWAV").mkdir()
    (root / "processedResults").symlink_to((source / "processedResults").resolve())
    for line in (source / "SentenceFilenames.csv").read_text().splitlines()[1:]:
        clip = line.split(",")[1].strip('"')
        (root / "AudioWAV" / f"{clip}.wav").touch()
    return root


def test_crema_co_occurrence_of_votes_is_the_published_one(whole_crema):
    rows = read_corpus("crema_d", whole_crema, labels="voice", keep_bad="true")
    chosen = np.array([[getattr(row, f"votes_{name}") > 0 for name in LETTERS.values()] for row in rows], dtype=int)
    assert (chosen.T @ chosen).tolist() == [
        [3032, 2214, 1153, 653, 2199, 756],
        [2214, 4101, 1732, 864, 3379, 1547],
        [1153, 1732, 3437, 789, 2986, 1710],
        [653, 864, 789, 1910, 1688, 525],
        [2199, 3379, 2986, 1688, 6380, 2995],
        [756, 1547, 1710, 525, 2995, 3209],
    ]


@pytest.mark.parametrize(
    ("source", "rule", "labelled"),
    [
        ("voice", "majority", 5012), ("voice", "plurality", 6798), ("voice", "all_inclusive", 7442),
        ("face", "majority", 5523), ("audiovisual", "majority", 5913), ("acted", "majority", 7442),
    ],
)  # fmt: skip
def test_crema_rules_keep_the_published_number_of_clips(whole_crema, source, rule, labelled):
    rows = read_corpus("crema_d", whole_crema, labels=source, rule=rule, keep_bad="true")
    assert len(rows) == 7442
    assert sum(bool(row.emotion) for row in rows) == labelled
    assert {row.label_source for row in rows} == {source}
    assert {row.label_rule for row in rows} == {"" if source == "acted" else rule}


def test_crema_class_counts_of_voice_plurality_are_the_published_ones(whole_crema):
    rows = read_corpus("crema_d", whole_crema, labels="voice", rule="plurality", keep_bad="true")
    assert Counter(row.emotion for row in rows if row.emotion) == {
        "neutral": 3897, "anger": 986, "fear": 645, "disgust": 547, "sadness": 370, "happiness": 353,
    }  # fmt: skip


def test_crema_ties_are_drawn_by_the_seed_and_leave_the_rest_alone(whole_crema):
    def labels(**options):
        rows = read_corpus("crema_d", whole_crema, labels="voice", keep_bad="true", **options)
        return {row.clip_id: row.emotion for row in rows}

    plural, first, other = (
        labels(rule="plurality"),
        labels(rule="all_inclusive"),
        labels(rule="all_inclusive", seed="1"),
    )
    assert first == labels(rule="all_inclusive")
    assert {clip for clip in first if first[clip] != other[clip]} <= {clip for clip in plural if not plural[clip]}
    assert sum(first[clip] != other[clip] for clip in first) > 100
    assert all(first[clip] == plural[clip] for clip in plural if plural[clip])


def test_crema_human_accuracy_per_block_tells_that_the_blocks_are_not_swapped(real):
    acted = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
    accuracy = {}
    for source in ("voice", "face", "audiovisual"):
        ratings = read_ratings(real("crema_d"), source)
        assert len(ratings) == 7442
        right = sum(rated.votes[acted[clip.split("_")[2]]] for clip, rated in ratings.items())
        accuracy[source] = round(right / sum(sum(rated.votes.values()) for rated in ratings.values()), 3)
        assert all(0 <= rated.level <= 100 for rated in ratings.values())
    assert accuracy == {"voice": 0.400, "face": 0.574, "audiovisual": 0.631}


def test_crema_sessions_hold_each_actor_once():
    assert Counter(session(int(actor)) for actor in ACTORS) == {"S1": 18, "S2": 18, "S3": 19, "S4": 18, "S5": 18}
    assert sorted(number for first, last in SESSIONS.values() for number in range(first, last + 1)) == [
        *range(1001, 1092)
    ]


def test_crema_known_bad_items_are_left_out_and_named(whole_crema):
    reader = make_reader("crema_d", {})
    reading = reader.read(whole_crema)
    assert len(reading.rows) == 7441
    assert "crema_d_1076_MTI_SAD_XX" not in {row.clip_id for row in reading.rows}
    assert any("known bad" in note and "1076_MTI_SAD_XX" in note for note in reading.notes)
    assert any("2430 clips have votes but no emotion: no majority" in note for note in reading.notes)
    assert compare(reader.expected(), reading.rows) == []  # nothing else is missing


def test_crema_broken_films_are_left_out_of_films_only(tmp_path):
    for folder, suffix in (("VideoFlash", "flv"), ("AudioMP3", "mp3")):
        (tmp_path / folder).mkdir()
        for clip in ("1007_ITH_NEU_XX", "1064_IEO_DIS_MD", "1076_MTI_SAD_XX", "1001_IEO_ANG_LO"):
            (tmp_path / folder / f"{clip}.{suffix}").touch()
    films = read_corpus("crema_d", tmp_path, labels="acted", media="video")
    assert [row.path for row in films] == ["VideoFlash/1001_IEO_ANG_LO.flv"]
    assert (films[0].intensity, films[0].fold, films[0].sentence) == (1.0, "S2", "It's eleven o'clock")
    assert len(read_corpus("crema_d", tmp_path, labels="acted", media="mp3")) == 3
    assert len(read_corpus("crema_d", tmp_path, labels="acted", media="video", keep_bad="true")) == 4


def test_crema_ratings_need_the_table(tmp_path):
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav").touch()
    with pytest.raises(InputError, match="labels=voice needs CREMA-D's vote table"):
        read_corpus("crema_d", tmp_path)
    (tmp_path / "processedResults").mkdir()
    table = tmp_path / "processedResults" / "tabulatedVotes.csv"
    table.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="git lfs pull"):
        read_corpus("crema_d", tmp_path)
    table.write_text('"","A","fileName"\n"100001",1,"1001_DFA_ANG_XX"\n')
    with pytest.raises(InputError, match="not CREMA-D's vote table"):
        read_corpus("crema_d", tmp_path)


def test_crema_as_cloned_without_lfs(real, tmp_path):
    for media, clips in (("wav", 13), ("video", 7), ("mp3", 6)):
        summary = make_manifest("crema_d", root=real("crema_d"), output=tmp_path / "m.csv", options={"media": media})
        rows, problems = check_manifest(tmp_path / "m.csv", real("crema_d"))
        assert (len(rows), problems) == (clips, [])
        assert ("1003_DFA_ANG_XX" in str(summary)) == (media != "mp3")  # the pointer


def test_emodb_is_complete(real):
    reader = make_reader("emodb", {})
    reading = reader.read(real("emodb"))
    assert (len(reading.rows), len({row.speaker for row in reading.rows})) == (535, 10)
    assert Counter(row.emotion for row in reading.rows) == {
        "anger": 127, "boredom": 81, "neutral": 79, "happiness": 71, "fear": 69, "sadness": 62, "disgust": 46,
    }  # fmt: skip
    assert [*reading.notes, *compare(reader.expected(), reading.rows)] == []


def test_ravdess_has_half_of_its_actors(real):
    reader = make_reader("ravdess", {})
    rows = reader.read(real("ravdess")).rows
    assert (len(rows), sorted({row.speaker for row in rows})) == (720, [f"{number:02d}" for number in range(1, 13)])
    assert Counter(row.emotion for row in rows)["neutral"] == 48
    assert "720 of 1440 published clips: 720 missing" in compare(reader.expected(), rows)


def test_grid_and_trial_share_one_manifest(real, tmp_path):
    grid, trial = real("grid"), real("trial")
    output = tmp_path / "m.csv"
    first = make_manifest("grid", root=grid, base=DATA, output=output)
    second = make_manifest("folder", root=trial, base=DATA, output=output, append=True)
    rows, problems = check_manifest(output, DATA)
    assert (first.rows, first.speakers, second.rows, len(rows), problems) == (310, 11, 49, 359, [])
    assert rows["alignment"].notna().sum() == 300
    assert all((DATA / path).is_file() for path in [*rows["path"], *rows["alignment"].dropna()])
    assert rows["sentence"].dropna().str.split().str.len().eq(6).all()
