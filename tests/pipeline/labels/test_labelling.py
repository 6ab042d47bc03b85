"""From rows of the tables to labels and the reasons why one is missing."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.faces.landmarks import from_steps, to_steps
from pipeline.labels import labelling
from pipeline.labels.config import LabelsConfig
from pipeline.labels.measure import measure
from pipeline.labels.tracks import LIPS
from tests.pipeline.labels.conftest import AUS, wave


def film(name, *, n=60, units=None, valid=None, speed=0.05, seed=0):
    """A row of the faces table: a face that sways and shows some units in the second half."""
    points, time, ok = wave(25, seconds=n / 25, seed=seed)
    aus = 0.05 * np.random.default_rng(seed).normal(size=(n, len(AUS)))
    for unit in units or []:
        aus[n // 2 :, AUS.index(unit)] += 2.0
    return {
        "segment_id": name,
        "status": "ok",
        "reason": None,
        "time": time,
        "valid": ok if valid is None else valid,
        "shot": np.zeros(n, np.int32),
        "landmark_steps": to_steps(points * speed / 0.05),
        "aus": aus.ravel(),
    }


def sound(name, *, voiced=80):
    return {"segment_id": name, "status": "ok", "reason": None, "rms_db": np.linspace(-40, -10, 100),
            "voiced": np.arange(100) < voiced}  # fmt: skip


@pytest.fixture
def measured():
    names = [f"c{i}#000" for i in range(12)]
    origin = pd.DataFrame({
        "segment_id": names, "clip_id": [name[:-4] for name in names], "corpus": "c",
        "speaker": ["a", "b", "c", "d"] * 3, "split": ["train"] * 8 + ["dev"] * 4,
    })  # fmt: skip
    faces = [film(name, speed=0.02 + 0.01 * i, seed=i, units=["AU06", "AU12"] if i % 2 else None)
             for i, name in enumerate(names[:-2])]  # fmt: skip
    faces.append(film(names[-2], valid=np.arange(60) < 30))
    faces.append({"segment_id": names[-1], "status": "quarantined", "reason": "no face found in 9 frames"})
    sounds = [sound(name, voiced=20 + 5 * i) for i, name in enumerate(names)]
    config = LabelsConfig.model_validate({"energy_variation": {"min_voiced": 0.5}})
    return measure(origin, acoustics=sounds, faces=faces, frame_period=0.016, frame_size=0.032, config=config), config


def test_every_missing_label_has_a_reason_and_every_reason_a_missing_label(measured):
    found, config = measured
    fitted = labelling.fit(found, config, units=AUS, trust=dict.fromkeys(AUS, 0.5))
    rows = labelling.label(found, fitted, config)
    for task in ("t1", "t2", "t3"):
        assert (rows[f"{task}_label"].isna() == rows[f"{task}_reason"].notna()).all()
    assert rows.at["c10#000", "t2_reason"] == "a face in 50% of the frames, 60% needed"
    assert rows.at["c11#000", "t3_reason"] == "no face found in 9 frames"
    assert "voiced" in rows.at["c0#000", "t1_reason"]
    assert rows.loc[["c1#000", "c3#000"], "t3_label"].tolist() == ["happiness"] * 2
    assert set(rows["t2_label"].dropna()) == {"high", "low"}


def test_what_is_fitted_does_not_look_at_dev_rows_and_survives_json(measured):
    found, config = measured
    options = {"units": AUS, "trust": dict.fromkeys(AUS, 0.5)}
    fitted = labelling.fit(found, config, **options)
    for name in [f"c{i}#000" for i in range(8, 10)]:
        found.tracks[name] += 50.0 * np.random.default_rng(0).normal(size=found.tracks[name].shape)
    found.rows.loc[found.rows["split"] == "dev", ["t1_stat", "t2_stat"]] = 1e6
    again = labelling.fit(found, config, **options)
    assert again["t1"] == fitted["t1"]
    assert again["t2"] == fitted["t2"]
    assert again["t3"]["typical_face"] == fitted["t3"]["typical_face"]
    stored = json.loads(json.dumps(fitted))
    pd.testing.assert_frame_equal(labelling.label(found, stored, config), labelling.label(found, fitted, config))


def test_emotions_that_rest_on_weak_units_can_be_left_out(measured):
    found, config = measured
    task = config.au_emotion.model_copy(update={"min_reliability": 0.5})
    trust = {**dict.fromkeys(AUS, 0.3), "AU06": 1.0, "AU12": 1.0}
    chosen = config.model_copy(update={"au_emotion": task})
    assert labelling.fit(found, chosen, units=AUS, trust=trust)["t3"]["emotions"] == ["happiness"]
    assert labelling.fit(found, config, units=AUS, trust=trust)["t3"]["reliability"]["disgust"] == 0.3


def test_a_wavering_label_is_withheld(measured):
    found, config = measured
    fitted = labelling.fit(found, config, units=AUS, trust=dict.fromkeys(AUS, 0.5))
    task = config.au_emotion.model_copy(update={"min_confidence": 1e9})
    rows = labelling.label(found, fitted, config.model_copy(update={"au_emotion": task}))
    assert rows["t3_label"].isna().all()
    assert rows.loc["c1#000", "t3_reason"].startswith("margin")


def test_too_few_seconds_with_a_face_give_no_label(measured):
    found, config = measured
    origin = found.rows[["segment_id", "clip_id", "corpus", "speaker", "split"]]
    rows = measure(
        origin, acoustics=[], faces=[film("c0#000", n=10)], frame_period=0.016, frame_size=0.032, config=config
    ).rows
    assert rows.at["c0#000", "t2_reason"] == "a face for 0.40 s, 0.5 s needed"
    assert rows.at["c1#000", "t3_reason"] == "no faces table row"


def test_a_face_that_is_not_the_speakers_says_nothing(measured):
    found, config = measured
    origin = found.rows[["segment_id", "clip_id", "corpus", "speaker", "split"]].head(3)
    gates = config.model_copy(update={"min_sync": 0.3, "min_talk": 0.0})
    faces = [film(name, seed=i) for i, name in enumerate(origin["segment_id"])]
    time = faces[0]["time"]
    louder = np.interp(np.arange(len(time)) * 1.0, [0, len(time)], [-40, -10])  # the sound rises throughout
    for row, opening in ((faces[0], 0.01 * (louder + 41)), (faces[1], 0.01 * (-9 - louder))):  # the mouth too, or not
        points = from_steps(row)
        points[:, LIPS[0], :2] = points[:, LIPS[1], :2]
        points[:, LIPS[0], 1] += opening
        row["landmark_steps"] = to_steps(points)
    faces[2]["talk_score"] = -0.1
    sounds = [sound(name) for name in origin["segment_id"]]
    options = {"acoustics": sounds, "faces": faces, "frame_period": time[-1] / 99, "frame_size": 0.032}
    rows = measure(origin, **options, config=gates).rows
    assert rows["t2_reason"].isna().tolist() == [True, False, False]
    assert "labels.min_sync 0.3" in rows["t2_reason"].iloc[1]
    assert rows["t3_reason"].iloc[2] == (
        "the face does not move as the sound does: talk_score -0.100, labels.min_talk 0"
    )
    assert rows["t1_reason"].isna().all()  # the voice is still there
    assert measure(origin, **options, config=config).rows["t2_reason"].isna().all()
