"""Facial activation and energy variation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.labels.statistics import energy_variation, facial_activation
from tests.pipeline.labels.conftest import wave

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


def test_smoothing_takes_jitter_out_and_keeps_movement():
    def added(smooth):
        clean, noisy = (facial_activation(*wave(25, noise=n), **OPTIONS | {"smooth": smooth}).whole for n in (0, 0.004))
        return noisy / clean - 1

    assert added(0.06) < 0.25 * added(0.0)
    kept = facial_activation(*wave(25), **OPTIONS | {"smooth": 0.06}).whole
    assert kept > 0.6 * facial_activation(*wave(25), **OPTIONS).whole


@pytest.mark.parametrize(
    ("smooth", "left"), [(0.06, [0.91, 0.73, 0.48, 0.29, 0.13]), (0.03, [0.96, 0.9, 0.78, 0.67, 0.49])]
)
def test_the_smoothing_takes_what_the_page_says(smooth, left):
    """A Gaussian of .06 s takes most of 3 to 5 Hz, where articulation is; docs/labels.md has the whole table."""
    time, size = np.arange(200) / 25, 0.02
    still = np.random.default_rng(0).normal(size=(1, 478, 3)).repeat(len(time), 0)
    for hertz, share in zip(range(1, 6), left, strict=True):
        points = still.copy()
        points[:, :, 0] += size * np.sin(2 * np.pi * hertz * time)[:, None]
        options = {"smooth": smooth, "max_step": 0.21, "max_jump": 0.25}
        found = facial_activation(points, time, np.ones(len(time), bool), **options).whole
        assert found / (4 * size * hertz) == pytest.approx(share, abs=0.006)


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


def test_no_usable_step_gives_no_statistic():
    points, time, valid = face(5, 1)
    assert np.isnan(facial_activation(points, time, valid & False, **OPTIONS)).all()
    assert np.isnan(facial_activation(points[:1], time[:1], valid[:1], **OPTIONS)).all()


@given(st.lists(st.floats(-80, 0), min_size=2, max_size=50), st.floats(-20, 20))
def test_energy_variation_ignores_gain(levels, gain):
    rms, voiced = np.array(levels), np.ones(len(levels), bool)
    for statistic in ("std", "mean_abs_change"):
        plain = energy_variation(rms, voiced, statistic=statistic)
        assert plain == pytest.approx(energy_variation(rms + gain, voiced, statistic=statistic), abs=1e-6)
