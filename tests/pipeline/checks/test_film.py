"""Labels of a film that is in no table; equality with the table is in tests/test_flow.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.checks.film import LabelSettings, _with_thresholds, label_film
from pipeline.errors import InputError
from pipeline.faces.formulas import AU_NAMES
from pipeline.labels.config import LabelsConfig, Threshold
from pipeline.params import Params
from tests.pipeline.conftest import speech_like

EDGES = [f"{task}_{edge}" for task in ("t1", "t2") for edge in ("low", "high", "margin")]


@pytest.fixture
def thresholds(tmp_path: Path) -> Path:
    """What two corpora were fitted to."""
    chosen = {"manifest": "m.csv", "root": "."}
    params = Params.model_validate({"sets": {"unlabelled": chosen, "labelled": chosen}})
    settings = {name: getattr(params, name).model_dump(mode="json") for name in LabelSettings.model_fields}
    face = [0.0] * len(AU_NAMES)
    fitted = {
        "t1": {"*": [3.0, 3.0], "films": [2.0, 2.0]},
        "t2": {"*": [0.1, 0.1]},
        "t3": {"aus": list(AU_NAMES), "scale": [1.0] * len(face), "emotions": ["anger"],
               "typical_face": {"films": face, "talks": face}, "speaker_face": {"films/ann": face},
               "weights": [[1.0] * len(face)], "reliability": {"anger": 1.0}},
        "settings": settings,
    }  # fmt: skip
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps(fitted))
    return path


def test_sound_alone_has_the_first_label_and_says_why_the_others_are_missing(thresholds, make_sound):
    path = make_sound(speech_like([(0.2, False), (3.0, True), (0.2, False)]))
    (row,) = label_film(path, thresholds=thresholds, corpus="films").to_dict("records")
    assert (row["status"], row["t1_low"], row["t1_high"]) == ("ok", 2.0, 2.0)
    assert row["t1_margin"] == pytest.approx(row["t1_stat"] - 2.0)
    assert row["t1_label"] == ("high" if row["t1_margin"] > 0 else "low")
    assert row["t2_reason"] == row["t3_reason"] == "no video stream"
    assert row["t3_baseline"] == "corpus films"
    other = label_film(path, thresholds=thresholds, corpus="talks").iloc[0]
    assert other["t1_low"] == 3.0  # talks have no threshold of their own, so the wider one


def test_without_a_corpus_it_is_the_speakers_or_all_of_them(thresholds, make_sound):
    path = make_sound(speech_like([(0.2, False), (3.0, True), (0.2, False)]))
    everyone = label_film(path, thresholds=thresholds).iloc[0]
    assert (everyone["t1_low"], everyone["t3_baseline"]) == (3.0, "all corpora")
    hers = label_film(path, thresholds=thresholds, speaker="ann").iloc[0]
    assert (hers["t1_low"], hers["t3_baseline"]) == (2.0, "speaker ann")


def test_a_film_that_cannot_be_used_is_a_row(thresholds, tmp_path):
    (tmp_path / "empty.mp4").touch()
    (row,) = label_film(tmp_path / "empty.mp4", thresholds=thresholds, corpus="films").to_dict("records")
    assert (row["status"], row["segment_id"]) == ("quarantined", "empty")
    assert row["reason"] == "is empty (0 bytes); copy or download it again"


def test_mistakes_are_named(thresholds, tmp_path, make_sound):
    path = make_sound(speech_like([(1.5, True)]))
    for given, message in (
        ({"corpus": None, "speaker": "bob"}, r"no typical face of speaker 'bob' of \*"),
        ({"corpus": "songs"}, "'songs' is none of them"),
        ({"corpus": "films", "speaker": "bob"}, "no typical face of speaker 'bob' of films: it has those of ann"),
        ({"corpus": "talks", "speaker": "ann"}, "it has none"),
    ):
        with pytest.raises(InputError, match=message):
            label_film(path, thresholds=thresholds, **given)
    with pytest.raises(InputError, match="name the file with --thresholds"):
        label_film(path, thresholds=tmp_path / "none.json")
    fitted = json.loads(thresholds.read_text())
    thresholds.write_text(json.dumps({key: value for key, value in fitted.items() if key != "settings"}))
    with pytest.raises(InputError, match="does not say what it holds for: make it again"):
        label_film(path, thresholds=thresholds, corpus="films")
    fitted["settings"]["labels"]["floor"] = 1
    thresholds.write_text(json.dumps(fitted))
    with pytest.raises(InputError, match=r"labels\.floor: Extra inputs"):
        label_film(path, thresholds=thresholds, corpus="films")
    thresholds.write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        label_film(path, thresholds=thresholds, corpus="films")


def test_margins_count_from_the_nearer_threshold():
    rows = pd.DataFrame({"corpus": "c", "speaker": "s", "t1_stat": [1.0, 2.4, 5.0, np.nan], "t2_stat": 0.3})
    config = LabelsConfig.model_validate({"energy_variation": {"threshold": Threshold(quantiles=(0.3, 0.7))}})
    found = _with_thresholds(rows, {"t1": {"*": [2.0, 3.0]}, "t2": {}}, config)
    assert found["t1_margin"].round(6).tolist()[:3] == [-1.0, 0.4, 2.0]
    assert np.isnan(found["t1_margin"][3])
    assert found[["t2_low", "t2_high", "t2_margin"]].isna().all(axis=None)
    assert set(EDGES) <= set(found.columns)
