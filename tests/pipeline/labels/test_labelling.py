from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from pipeline.labels import emotion, labelling, thresholds
from pipeline.labels.config import RULES, LabelsConfig, Threshold
from pipeline.labels.measure import measure
from pipeline.labels.regions import MOUTH, REST
from pipeline.labels.statistics import energy_variation, facial_activation

OPTIONS = {"smooth": 0.0, "max_step": 0.12, "max_jump": 0.25}


def face(n, speed, *, fps=25.0, seed=0):
    """Frames of a face whose every point moves ``speed`` inter-ocular distances a second, to and fro."""
    time = np.arange(n) / fps
    points = np.random.default_rng(seed).normal(size=(1, 478, 3)).repeat(n, 0)
    points[:, :, 0] += (np.arange(n) % 2)[:, None] * speed / fps
    return points, time, np.ones(n, bool)


def test_activation_is_speed_whatever_the_frame_rate():
    for fps in (10, 25, 60):
        points, time, valid = face(80, 0.7, fps=fps)
        assert facial_activation(points, time, valid, **OPTIONS).whole == pytest.approx(0.7)


def test_activation_ignores_cuts_gaps_and_invalid_frames():
    points, time, valid = face(100, 0.5)
    points[50:] += 3.0  # a cut
    time[70:] += 5.0  # a long gap
    valid[20:30] = False
    points[20:30] = 99.0
    assert facial_activation(points, time, valid, **OPTIONS).whole == pytest.approx(0.5)


def test_activation_does_not_count_a_step_from_one_shot_to_the_next():
    points, time, valid = face(60, 0.5)
    points[30:] += 0.1  # another face in the same place: too small a jump to be told by itself
    shot = (np.arange(60) >= 30).astype(np.int32)
    blind = facial_activation(points, time, valid, **OPTIONS).whole
    assert facial_activation(points, time, valid, **OPTIONS, shot=shot).whole == pytest.approx(0.5)
    assert blind > 0.51


def wave(fps, *, seconds=6.0, noise=0.0, seed=1):
    """Frames of a face that sways like one that talks: 1 and 2.5 Hz, every point its own way."""
    rng = np.random.default_rng(seed)
    phase, size = rng.uniform(0, 6, (2, 478)), rng.uniform(0.01, 0.03, (2, 478))
    time = np.arange(round(seconds * fps)) / fps
    points = np.zeros((len(time), 478, 3))
    for axis, hertz in enumerate((1.0, 2.5)):
        points[:, :, axis] = size[axis] * np.sin(2 * np.pi * hertz * time[:, None] + phase[axis])
    points += np.random.default_rng(seed + 1).normal(scale=noise, size=points.shape)
    return points, time, np.ones(len(time), bool)


def test_smoothing_takes_jitter_out_and_keeps_movement():
    def added(smooth):
        clean, noisy = (facial_activation(*wave(25, noise=n), **OPTIONS | {"smooth": smooth}).whole for n in (0, 0.004))
        return noisy / clean - 1

    assert added(0.06) < 0.25 * added(0.0)
    kept = facial_activation(*wave(25), **OPTIONS | {"smooth": 0.06}).whole
    assert kept > 0.6 * facial_activation(*wave(25), **OPTIONS).whole


def test_a_smoothed_face_is_as_active_at_any_frame_rate():
    """It was a third more active at 12 Hz than at 25 Hz, so that a shared threshold read the frame rate."""
    options = {"smooth": 0.06, "max_step": 0.21, "max_jump": 0.25}
    found = [facial_activation(*wave(fps, noise=0.001), **options).whole for fps in (60, 30, 25, 15, 12.5, 10)]
    assert found[:-1] == pytest.approx([found[0]] * 5, rel=0.1)
    assert found[-1] == pytest.approx(found[0], rel=0.15)  # half a cycle of 2.5 Hz has two frames left


@settings(max_examples=25, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(-50, 50), st.floats(0.2, 5))
def test_activation_knows_neither_place_nor_start_and_grows_with_size(x, y, start, size):
    points, time, valid = wave(25, seconds=1.5)
    options = {"smooth": 0.06, "max_step": 0.21, "max_jump": 9.0}
    plain = facial_activation(points, time, valid, **options)
    moved = facial_activation(size * points + [x, y, 0], time + start, valid, **options)
    assert moved == pytest.approx([size * value for value in plain], rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(arrays(bool, 40))
def test_activation_looks_at_valid_frames_alone(valid):
    points, time, _ = wave(25, seconds=1.6)
    spoiled = np.where(valid[:, None, None], points, 77.0)
    options = {"smooth": 0.06, "max_step": 0.05, "max_jump": 0.25}
    one, other = (facial_activation(film, time, valid, **options) for film in (points, spoiled))
    assert one == pytest.approx(other, nan_ok=True)
    assert np.isnan(one.whole) == (not (valid[1:] & valid[:-1]).any())


def test_regions_split_the_face():
    assert len(MOUTH) + len(REST) == 478
    assert not set(MOUTH) & set(REST)
    assert {0, 17, 61, 291, 152} <= set(MOUTH)  # lips, mouth corners, chin
    assert {33, 263, 70, 300, 10, 6} <= set(REST)  # eyes, brows, forehead, nose bridge


def test_no_usable_step_gives_no_statistic():
    points, time, valid = face(5, 1)
    assert np.isnan(facial_activation(points, time, valid & False, **OPTIONS)).all()
    assert np.isnan(facial_activation(points[:1], time[:1], valid[:1], **OPTIONS)).all()


@given(st.lists(st.floats(-80, 0), min_size=2, max_size=50), st.floats(-20, 20))
def test_energy_variation_does_not_hear_gain(levels, gain):
    rms, voiced = np.array(levels), np.ones(len(levels), bool)
    for statistic in ("std", "mean_abs_change"):
        plain = energy_variation(rms, voiced, statistic=statistic)
        assert plain == pytest.approx(energy_variation(rms + gain, voiced, statistic=statistic), abs=1e-6)


def rows(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "corpus": ["a", "b"] * (n // 2),
            "speaker": [f"s{i % 4}" for i in range(n)],
            "split": ["train"] * (n // 2) + ["dev"] * (n - n // 2),
            "x": rng.normal(size=n),
        }
    )


def test_thresholds_come_from_train_rows_alone():
    table = rows()
    changed = table.copy()
    changed.loc[changed["split"] == "dev", "x"] = 1e6
    for scope in ("corpus", "speaker", "global"):
        config = Threshold(scope=scope, min_segments=2)
        assert thresholds.fit(table, "x", config) == thresholds.fit(changed, "x", config)


def test_a_small_group_uses_the_wider_threshold():
    table = rows()
    fitted = thresholds.fit(table, "x", Threshold(scope="speaker", min_segments=6))
    assert set(fitted) == {"*", "a", "b"}  # ten train rows a corpus, five a speaker
    labels = thresholds.apply(table, "x", fitted, "speaker")
    high = table["x"] > table["corpus"].map({name: fitted[name][1] for name in "ab"})
    assert labels.tolist() == ["high" if h else "low" for h in high]


def test_dead_zone_leaves_the_middle_without_a_label():
    table = rows(400)
    config = Threshold(quantiles=(0.3, 0.7), scope="global")
    labels = thresholds.apply(table, "x", thresholds.fit(table, "x", config), "global")
    share = labels.isna().mean()
    assert 0.3 < share < 0.5
    assert table["x"][labels == "high"].min() > table["x"][labels == "low"].max()


def test_bad_quantiles_and_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="quantiles"):
        Threshold(quantiles=(0.8, 0.2))
    with pytest.raises(ValidationError, match="flor"):
        LabelsConfig.model_validate({"au_emotion": {"flor": 1}})


AUS = ["AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU12", "AU15", "AU20", "AU23", "AU26"]


def test_each_emotion_wins_on_its_own_units():
    """A perfect fear face once came out as surprise, whose units are a part of fear's."""
    names, matrix = emotion.rule_matrix(RULES, AUS, dict.fromkeys(AUS, 1.0), contrast=0.5)
    for name in names:
        track = np.zeros((30, len(AUS)))
        track[:, [AUS.index(unit) for unit in RULES[name]]] = 2.0
        scores = emotion.soft_scores(
            track, baseline=np.zeros(len(AUS)), scale=np.ones(len(AUS)), matrix=matrix, summary=0.75
        )
        assert emotion.decide(scores, names, floor=0.5)[0] == name


def test_unsupported_units_do_not_pull_a_score_down():
    _, full = emotion.rule_matrix(RULES, AUS, dict.fromkeys(AUS, 1.0))
    names, part = emotion.rule_matrix(RULES, AUS, {**dict.fromkeys(AUS, 1.0), "AU20": 0.0})
    assert np.allclose(part.sum(axis=1), 1)
    fear = names.index("fear")
    assert part[fear, AUS.index("AU20")] == 0 < full[fear, AUS.index("AU20")]
    assert "fear" not in emotion.rule_matrix(RULES, AUS, {"AU12": 1.0})[0]


def test_the_speakers_own_face_is_neutral():
    frowner = np.full((20, len(AUS)), 3.0)
    names, matrix = emotion.rule_matrix(RULES, AUS, dict.fromkeys(AUS, 1.0))
    scores = emotion.soft_scores(frowner, baseline=frowner[0], scale=np.ones(len(AUS)), matrix=matrix, summary=0.75)
    assert emotion.decide(scores, names, floor=0.5) == ("neutral", 0.5)


@settings(max_examples=50, deadline=None)
@given(arrays(float, 6, elements=st.floats(-3, 3)), st.floats(0, 2))
def test_the_label_has_the_greatest_score_and_the_margin_is_never_negative(scores, floor):
    found, margin = emotion.decide(scores, list(RULES), floor=floor)
    best = scores.max()
    assert margin >= 0
    assert (found == emotion.NEUTRAL) == (best < floor)
    if found != emotion.NEUTRAL:
        assert scores[list(RULES).index(found)] == best
        assert margin <= best - floor + 1e-9


@settings(max_examples=30, deadline=None)
@given(arrays(float, (12, len(AUS)), elements=st.floats(-2, 2)), st.floats(0.1, 10), st.floats(-5, 5))
def test_scores_know_neither_the_unit_of_the_readings_nor_the_speakers_level(track, size, shift):
    _, matrix = emotion.rule_matrix(RULES, AUS, dict.fromkeys(AUS, 0.5), contrast=0.5)
    zero, one = np.zeros(len(AUS)), np.ones(len(AUS))
    plain = emotion.soft_scores(track, baseline=zero, scale=one, matrix=matrix, summary=0.75)
    other = emotion.soft_scores(
        size * track + shift, baseline=zero + shift, scale=one * size, matrix=matrix, summary=0.75
    )
    assert other == pytest.approx(plain, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(arrays(float, 30, elements=st.floats(-100, 100)), st.floats(0.05, 0.5), st.floats(0.5, 0.95))
def test_high_lies_above_low_and_never_both(values, low, high):
    table = pd.DataFrame({"corpus": "c", "speaker": "s", "split": "train", "x": values})
    fitted = thresholds.fit(table, "x", Threshold(quantiles=(low, high)))
    labels = thresholds.apply(table, "x", fitted, "corpus")
    highs, lows = values[labels == "high"], values[labels == "low"]
    if len(highs) and len(lows):
        assert highs.min() > lows.max()
    if low == high:
        assert labels.notna().all()


def test_an_emotion_is_as_reliable_as_its_units():
    trust = {**dict.fromkeys(AUS, 0.3), "AU06": 1.0, "AU12": 1.0}
    assert emotion.class_reliability(RULES, trust)["happiness"] == 1.0
    assert emotion.class_reliability(RULES, trust)["disgust"] == 0.3


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
        "landmarks": (points * speed / 0.05).ravel(),
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
    return measure(origin, acoustics=sounds, faces=faces, frame_period=0.016, config=config), config


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
    rows = measure(origin, acoustics=[], faces=[film("c0#000", n=10)], frame_period=0.016, config=config).rows
    assert rows.at["c0#000", "t2_reason"] == "a face for 0.40 s, 0.5 s needed"
    assert rows.at["c1#000", "t3_reason"] == "no faces table row"
