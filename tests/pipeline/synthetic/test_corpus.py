"""The synthetic corpus as files: deterministic, resumable, complete, and honest about what it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.engine.tables import METADATA_KEY
from pipeline.manifest.row import ManifestRow
from pipeline.media import decode_audio, frames
from pipeline.orofacial.alignment import Span, read_alignment
from pipeline.synthetic.corpus import SyntheticConfig, act, plan, synthesize
from pipeline.synthetic.muscles import AU_NAMES
from pipeline.synthetic.truth import planted_votes
from pipeline.synthetic.voice import RATE

TINY = SyntheticConfig(
    unlabelled_speakers=2,
    clips_per_speaker=2,
    dev_speakers=1,
    labelled_speakers=2,
    utterances_per_speaker=2,
    folds=2,
    size=128,
)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    synthesize(TINY, folder, workers=2)
    return folder


@pytest.fixture(scope="module")
def clips(made: Path) -> pd.DataFrame:
    return pd.read_parquet(made / "truth" / "clips.parquet").set_index("clip_id")


def test_bytes_do_not_depend_on_the_workers_and_a_broken_run_resumes(made: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    synthesize(TINY, tmp_path, workers=1, progress=lambda _clip, done, total: seen.append((done, total)))
    assert seen == [(k, 8) for k in range(1, 9)]
    whole = digests(made)
    assert digests(tmp_path) == whole
    assert sum(name.endswith(".mp4") for name in whole) == 8  # the labelled speakers were filmed too

    lost = tmp_path / "unlabelled" / "face01_002.mp4"
    kept = tmp_path / "unlabelled" / "face01_001.mp4"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    (tmp_path / "unlabelled.csv").unlink()
    (tmp_path / "unlabelled" / ".face02_001.mp4.1.tmp").write_bytes(b"half")
    synthesize(TINY, tmp_path, workers=1)
    assert digests(tmp_path) == whole
    assert kept.stat().st_mtime_ns == before

    # Another corpus replaces this one: no file of the old one stays.
    other = TINY.model_copy(update={"seed": 99, "clips_per_speaker": 1, "utterances_per_speaker": 1})
    synthesize(other, tmp_path, workers=1)
    after = digests(tmp_path)
    assert "unlabelled/face01_002.mp4" not in after
    assert after["unlabelled/face01_001.mp4"] != whole["unlabelled/face01_001.mp4"]


def test_manifests_obey_the_schema_and_keep_speakers_apart(made: Path) -> None:
    tables = {name: pd.read_csv(made / f"{name}.csv", keep_default_na=False) for name in ("unlabelled", "labelled")}
    for table in tables.values():
        assert table["clip_id"].is_unique
        for row in table.to_dict("records"):
            ManifestRow.model_validate(row)
            assert (made / row["path"]).stat().st_size > 1000
            assert (made / row.get("alignment", "")).exists()
    assert not {"emotion", "label_source"} & set(tables["unlabelled"])
    assert set(tables["unlabelled"]["split"]) == {"train", "dev"}
    assert (tables["labelled"]["label_source"] == "acted").all()
    assert (tables["labelled"].filter(like="votes_").sum(axis=1) == SyntheticConfig().raters).all()
    own = tables["unlabelled"]["corpus"] == "synthetic-labelled"
    for table, column in ((tables["unlabelled"], "split"), (tables["labelled"], "fold")):
        assert (table.groupby("speaker")[column].nunique() == 1).all()
        assert table[column].nunique() == 2
    assert not set(tables["unlabelled"]["speaker"][~own]) & set(tables["labelled"]["speaker"])
    filmed, heard = tables["unlabelled"][own], tables["labelled"]
    assert filmed["clip_id"].tolist() == heard["clip_id"].tolist()
    assert set(filmed["corpus"]) == set(heard["corpus"])  # so that a fold knows its own films


def test_a_film_of_a_labelled_speaker_has_the_sound_of_its_utterance(made: Path) -> None:
    film, sound = (
        decode_audio(made / f"labelled/voice01_002.{end}", start=0.0, end=None, sample_rate=RATE)
        for end in ("mp4", "flac")
    )
    size = min(len(film), len(sound))
    assert abs(len(film) - len(sound)) < 1600  # the film ends with its last picture
    assert np.corrcoef(film[:size], sound[:size])[0, 1] > 0.98


def test_without_labelled_films_the_labelled_set_is_heard_alone(tmp_path: Path) -> None:
    synthesize(TINY.model_copy(update={"labelled_films": False}), tmp_path, workers=2)
    assert not list((tmp_path / "labelled").glob("*.mp4"))
    assert len(pd.read_csv(tmp_path / "unlabelled.csv")) == 4
    assert pd.read_parquet(tmp_path / "truth" / "clips.parquet")["photo"].notna().sum() == 4


def test_simulated_raters_mostly_hear_what_was_acted() -> None:
    config = SyntheticConfig(raters=100)
    heard = pd.DataFrame([planted_votes(clip, config) for clip in plan(config) if clip.emotion == "anger"]).mean()
    # 70 of 100; 4 : 1 : 1 share the rest, as happiness is as aroused as anger
    assert heard.to_dict() == pytest.approx(
        {"votes_anger": 70, "votes_happiness": 20, "votes_sadness": 5, "votes_neutral": 5}, abs=1.5
    )
    assert planted_votes(plan(config)[-1], SyntheticConfig(raters=0)) == {}


def test_no_voice_is_in_both_sets_or_two_speakers() -> None:
    everyone = {(clip.set, clip.speaker.name): clip.speaker.voice for clip in plan(SyntheticConfig())}
    assert len(set(everyone.values())) == len(everyone) == 18


def test_planted_classes_have_the_configured_shares() -> None:
    config = SyntheticConfig()
    table = pd.DataFrame([vars(clip) for clip in plan(config)])
    films, sounds = table[table["set"] == "unlabelled"], table[table["set"] == "labelled"]
    assert (films["emotion"] == "neutral").mean() == pytest.approx(config.neutral_share, abs=0.02)
    assert sounds["emotion"].value_counts().nunique() == 1
    # Medians split T1 and T2, so about half of the films must be high, more of the angry than of the sad ones.
    for column in ("energy", "activation"):
        assert films[column].mean() == pytest.approx(0.5, abs=0.08)
        share = films.groupby("emotion")[column].mean()
        assert 1 > share["anger"] > 0.5 > share["sadness"] > 0


def test_truth_tables_match_the_media(made: Path, clips: pd.DataFrame) -> None:
    films = pd.read_parquet(made / "truth" / "frames.parquet").set_index("clip_id")
    assert len(clips) == 8
    assert list(films.index) == list(clips.index)
    for clip_id, row in films.iterrows():
        film = (made / clips.at[clip_id, "path"]).with_suffix(".mp4")
        times = [frame.time for frame in frames(film)]
        assert len(times) == row["n_frames"] == len(row["time"])
        np.testing.assert_allclose(times, row["time"], atol=1e-3)
        aus = row["aus"].reshape(-1, len(AU_NAMES))
        assert len(aus) == row["n_frames"]
        assert aus.min() >= 0
        assert aus[:, AU_NAMES.index("AU25")].max() > 0.1  # somebody speaks
        assert abs(times[-1] + 1 / TINY.fps - clips.at[clip_id, "duration"]) <= 1 / TINY.fps
    sounds = pd.read_parquet(made / "truth" / "phonemes.parquet").set_index("clip_id")
    for clip_id in films.index[clips.loc[films.index, "set"] == "unlabelled"]:
        written = read_alignment(made / "unlabelled" / f"{clip_id}.TextGrid").phones
        planted = sounds.loc[clip_id]
        assert [span.name for span in written if span.name] == planted["phone"].tolist()
        np.testing.assert_allclose([span.start for span in written if span.name], planted["start"], atol=1e-6)
        assert written[0] == Span(0.0, pytest.approx(planted["start"].iloc[0]), "")  # the margin
        assert written[-1].end == pytest.approx(clips.at[clip_id, "duration"])
    for name in ("clips", "frames", "phonemes"):
        schema = pq.read_schema(made / "truth" / f"{name}.parquet")
        metadata = json.loads(schema.metadata[METADATA_KEY])
        assert metadata["synthetic"] is True
        assert "demonstration" in metadata["notice"]


def test_sound_and_picture_share_one_clock(made: Path, clips: pd.DataFrame) -> None:
    """AAC delays the sound by a priming block, which the container must take back: mouths would lag otherwise."""
    clip = plan(TINY)[0]
    spoken = act(clip, TINY).utterance.samples
    heard = decode_audio(made / clip.path, start=0.0, end=None, sample_rate=RATE)
    n = min(len(spoken), len(heard))
    assert abs(len(spoken) - len(heard)) < 0.1 * RATE
    lags = np.arange(-2000, 2001, 20)
    match = [np.dot(spoken[3000 : n - 3000], heard[3000 + lag : n - 3000 + lag]) for lag in lags]
    assert abs(lags[int(np.argmax(match))]) <= 20


def test_phonemes_are_ordered_and_inside_the_sound(made: Path, clips: pd.DataFrame) -> None:
    table = pd.read_parquet(made / "truth" / "phonemes.parquet")
    assert set(table["clip_id"]) == set(clips.index)
    for clip_id, sounds in table.groupby("clip_id"):
        assert (sounds["end"] > sounds["start"]).all()
        assert (sounds["start"].to_numpy()[1:] >= sounds["end"].to_numpy()[:-1] - 1e-9).all()
        assert sounds["start"].iloc[0] > 0
        assert sounds["end"].iloc[-1] <= clips.at[clip_id, "duration"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dev_speakers": 10},
        {"folds": 11},
        {"emotions": ("anger", "anger")},
        {"emotions": ("anger", "boredom")},
        {"unlabelled_speakers": 13},
        {"sped": 1},
    ],
)
def test_impossible_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SyntheticConfig(**wrong)
