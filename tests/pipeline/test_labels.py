from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.labels import emotion, thresholds
from pipeline.labels.config import RULES, LabelsConfig, Threshold
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


def test_smoothing_takes_jitter_out_and_keeps_movement():
    rng = np.random.default_rng(1)
    time = np.arange(200) / 25
    still = np.zeros((200, 478, 3))
    moving = still.copy()
    moving[:, :, 1] = 0.2 * np.sin(2 * np.pi * 1.0 * time)[:, None]
    noise = rng.normal(scale=0.01, size=still.shape)
    valid = np.ones(200, bool)
    options = OPTIONS | {"smooth": 0.2}
    true = facial_activation(moving, time, valid, **OPTIONS).whole
    raw = facial_activation(moving + noise, time, valid, **OPTIONS).whole
    smooth = facial_activation(moving + noise, time, valid, **options).whole
    assert abs(smooth - true) < abs(raw - true)
    quiet = facial_activation(still + noise, time, valid, **options).whole
    assert quiet < 0.5 * facial_activation(still + noise, time, valid, **OPTIONS).whole


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
