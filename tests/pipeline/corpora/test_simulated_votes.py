"""Votes of simulated raters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.corpora.simulated_votes import confusion, simulate, simulate_manifest
from pipeline.errors import InputError
from pipeline.manifest.csv_file import write_manifest
from pipeline.manifest.row import ManifestRow
from pipeline.manifest.table import read_rows
from tests.pipeline.conftest import SHARED

HEAD = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote","meanEmoResp","meanAcc"\n'


def row(number: int, emotion: str, **more) -> ManifestRow:
    names = {"clip_id": f"c{number}", "corpus": "acted", "path": f"{number}.wav", "speaker": str(number % 4)}
    return ManifestRow(**{**names, "emotion": emotion, "label_source": "acted" if emotion else "", **more})


@pytest.fixture
def repository(tmp_path):
    """A vote table of the real layout: raters of the voice hear anger as anger or disgust, 3 to 1."""
    folder = tmp_path / "crema_d" / "processedResults"
    folder.mkdir(parents=True)
    lines = [
        f'"{block}{number:05d}",{votes},"1001_DFA_{code}_XX",4,1,"A",1,1\n'
        for block, first in ((1, "3,1,0,0,0,0"), (2, "0,0,4,0,0,0"))
        for number, (code, votes) in enumerate(
            [("ANG", first), *((code, "0,0,0,0,4,0") for code in ("DIS", "FEA", "HAP", "NEU", "SAD"))]
        )
    ]
    (folder / "tabulatedVotes.csv").write_text(HEAD + "".join(lines))
    return tmp_path / "crema_d"


def test_the_table_is_that_of_the_raters_asked_for(repository):
    voice = confusion(repository, "voice")
    assert voice.loc["anger"].to_dict() == {
        "anger": 0.75, "disgust": 0.25, "fear": 0.0, "happiness": 0.0, "neutral": 0.0, "sadness": 0.0
    }  # fmt: skip
    assert confusion(repository, "face").loc["anger", "fear"] == 1.0
    with pytest.raises(InputError, match="'sound' is not one of voice, face, audiovisual"):
        confusion(repository, "sound")


def test_votes_follow_the_table(repository):
    rows = [row(number, "anger") for number in range(400)]
    kept, without = simulate(rows, confusion(repository, "voice"), raters=10, seed=0)
    assert not without
    votes = pd.DataFrame([each.model_dump() for each in kept])[["votes_anger", "votes_disgust", "votes_sadness"]]
    assert (votes.sum(axis=1) == 10).all()
    # 4,000 draws of probability 3/4: a standard deviation of .007
    assert abs(votes["votes_anger"].sum() / 4000 - 0.75) < 0.03
    assert (votes["votes_sadness"] == 0).all()
    assert votes["votes_anger"].nunique() > 4


def test_a_rows_votes_depend_on_nothing_but_itself_and_the_seed(repository):
    table = confusion(repository, "voice")
    rows = [row(number, "anger") for number in range(20)]
    whole, _ = simulate(rows, table, raters=10, seed=0)
    some, _ = simulate(rows[5:8], table, raters=10, seed=0)
    assert some == whole[5:8]
    other, _ = simulate(rows, table, raters=10, seed=1)
    assert other != whole


def test_the_manifest_says_that_votes_are_simulated_and_what_was_left_out(repository, tmp_path):
    rows = [row(0, "anger"), row(1, "boredom"), row(2, "neutral"), row(3, "")]
    write_manifest(rows, tmp_path / "m.csv")
    summary = simulate_manifest(tmp_path / "m.csv", crema_d=repository, output=tmp_path / "v.csv", raters=3)
    assert "2 rows with 3 simulated votes each" in summary
    assert "1 (no label), 1 boredom" in summary
    found = read_rows(tmp_path / "v.csv")
    assert [(each.clip_id, each.emotion, each.label_source) for each in found] == [
        ("c0", "anger", "simulated"), ("c2", "neutral", "simulated")
    ]  # fmt: skip
    with pytest.raises(InputError, match="2 rows have votes already"):
        simulate_manifest(tmp_path / "v.csv", crema_d=repository, output=tmp_path / "w.csv")


def test_labels_that_raters_gave_are_no_intended_ones(repository, tmp_path):
    write_manifest([row(0, "anger", label_source="voice")], tmp_path / "m.csv")
    with pytest.raises(InputError, match="not what an actor intended, the first is that of 'c0'"):
        simulate_manifest(tmp_path / "m.csv", crema_d=repository, output=tmp_path / "v.csv")
    write_manifest([row(0, "boredom")], tmp_path / "m.csv")
    with pytest.raises(InputError, match="no row has one of the emotions anger"):
        simulate_manifest(tmp_path / "m.csv", crema_d=repository, output=tmp_path / "v.csv")


@pytest.mark.skipif(not (SHARED / "data/crema_d").is_dir(), reason="needs CREMA-D's vote table")
def test_the_real_table(tmp_path):
    table = confusion(SHARED / "data/crema_d", "voice")
    assert np.allclose(table.sum(axis=1), 1.0)
    assert (table.to_numpy() > 0).all()  # real raters confuse everything with everything, now and then
    assert table.loc["neutral", "neutral"] > table.loc["sadness", "sadness"]  # the voice hides sadness
