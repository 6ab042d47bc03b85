"""Head pose, position and scale are gone after alignment, and the angles that were taken out are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.faces.align import ROUNDING, STABLE, align, quality, umeyama
from pipeline.faces.config import FacesConfig
from pipeline.faces.meshmodel import N_POINTS, mesh_model
from pipeline.faces.texture import REGIONS
from pipeline.faces.timeline import bridge, cuts, from_shot_median, running_median, smooth, timeline
from pipeline.faces.track import Track

CONFIG = FacesConfig()
TO_PICTURE = np.array([1.0, -1.0, -1.0])  # the picture's y goes down and MediaPipe's z away from the viewer


def turn(pitch, yaw, roll):
    """Head rotation as documented: Ry(-yaw) Rx(-pitch) Rz(roll), right-handed, degrees."""
    p, y, r = np.radians([-pitch, -yaw, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return ry @ rx @ rz


def picture(face, angles=(0.0, 0.0, 0.0), size=60.0, place=(320.0, 180.0, 0.0)):
    """Points in pixels of a face given in canonical units."""
    return (face @ turn(*angles).T * size) * TO_PICTURE + place


angle = st.floats(-60, 60)


@given(pitch=angle, yaw=angle, roll=angle)
@settings(max_examples=50, deadline=None)
def test_pose_comes_back_from_a_turned_face(pitch, yaw, roll):
    found = align(picture(mesh_model().canonical, (pitch, yaw, roll))[None]).pose[0]
    np.testing.assert_allclose(found, [pitch, yaw, roll], atol=0.05)


def test_signs_of_pose_are_as_documented():
    nose = 1
    straight, right, up = (picture(mesh_model().canonical, angles) for angles in ((0, 0, 0), (0, 30, 0), (20, 0, 0)))
    assert right[nose, 0] < straight[nose, 0]  # the subject's right is the picture's left
    assert up[nose, 1] < straight[nose, 1]
    tilted = picture(mesh_model().canonical, (0, 0, 20))
    assert tilted[10, 0] < tilted[152, 0]  # the forehead goes to the subject's right


@given(
    bend=hnp.arrays(np.float64, (N_POINTS, 3), elements=st.floats(-0.05, 0.05)),
    angles=st.tuples(angle, angle, angle),
    size=st.floats(20, 300),
    x=st.floats(-500, 2000),
)
@settings(max_examples=30, deadline=None)
def test_alignment_removes_a_similarity_exactly(bend, angles, size, x):
    face = mesh_model().canonical + bend
    still = align(picture(face)[None]).landmarks
    moved = align(picture(face, angles, size, (x, 77.0, 5.0))[None])
    np.testing.assert_allclose(moved.landmarks, still, atol=1.01 * ROUNDING + 1e-6)
    assert moved.interocular[0] == pytest.approx(size * np.linalg.norm(face[33] - face[263]), rel=1e-4)


def test_umeyama_never_reflects():
    rng = np.random.default_rng(1)
    target = rng.normal(size=(10, 3))
    scale, rotation, _ = umeyama((target * [-1, 1, 1])[None], target)
    assert np.linalg.det(rotation[0]) == pytest.approx(1.0)
    assert scale[0] > 0


def test_frames_without_a_face_are_nan_and_the_rest_is_rounded():
    points = np.stack([picture(mesh_model().canonical), np.full((N_POINTS, 3), np.nan)])
    found = align(points)
    assert np.isnan(found.landmarks[1]).all()
    assert np.isnan(found.pose[1]).all()
    steps = found.landmarks[0] / ROUNDING
    np.testing.assert_array_equal(steps, np.round(steps))
    assert found.landmarks.dtype == np.float32


def shaky(noise, n=20):
    rng = np.random.default_rng(0)
    face = mesh_model().canonical + rng.normal(size=(n, N_POINTS, 3)) * noise
    return np.stack([picture(f, (0, 0, 0), 80) for f in face])


@pytest.mark.parametrize(
    ("points", "good"),
    [
        (shaky(0.002), True),
        (shaky(0.1), False),
        (np.stack([picture(mesh_model().canonical, (0, 0, 0), 80)] * 5), True),
        (np.stack([picture(mesh_model().canonical, (0, 0, 0), 21)] * 5), False),
        (np.stack([picture(mesh_model().canonical, (0, 74, 0), 80)] * 5), False),
        (np.stack([picture(mesh_model().canonical, (30, 0, 40), 80)] * 5), True),
        (np.full((5, N_POINTS, 3), np.nan), False),
        (np.stack([np.roll(picture(mesh_model().canonical, (0, 0, 0), 80), 100, axis=0)] * 5), False),
    ],
    ids=["steady", "shaky", "frontal", "tiny", "profile", "tilted", "none", "no face shape"],
)
def test_quality_tells_good_frames_from_bad(points, good):
    grade = quality(align(points.astype(np.float32)), np.arange(len(points)) / 25, CONFIG)
    assert ((grade >= 0) & (grade <= 1)).all()
    assert bool((grade[1:-1] >= CONFIG.min_quality).all()) == good


def track(x, missing, time=None):
    """Faces at pixel positions x; rows named missing have none."""
    points = np.stack([picture(mesh_model().canonical, place=(float(at), 100.0, 0.0)) for at in x]).astype(np.float32)
    points[list(missing)] = np.nan
    texture = np.zeros((len(x), len(REGIONS)), np.float32)
    time = np.arange(len(x)) / 25 if time is None else np.asarray(time, float)
    return Track(time, points, texture)


def test_short_gaps_are_bridged_on_the_real_clock_and_long_ones_stay_open():
    time = [0.0, 0.04, 0.05, 0.12, 0.16, 0.30, 0.5, 0.52]
    shown = track([100, 102, 0, 110, 111, 0, 112, 112], [2, 5], time)
    filled, where = bridge(shown, max_gap=0.2)
    assert where.tolist() == [False, False, True, False, False, False, False, False]
    nose = filled.points[:, 1, 0] - filled.points[0, 1, 0]
    assert nose[2] == pytest.approx(2 + 8 * (0.05 - 0.04) / 0.08, abs=1e-3)
    assert np.isnan(filled.points[5]).all()
    assert np.isnan(shown.points[2]).all()  # the input is left alone


def test_a_gap_is_not_bridged_across_a_cut():
    filled, where = bridge(track([100, 100, 0, 400, 400], [2]), max_gap=0.2)
    assert not where.any()
    assert np.isnan(filled.points[2]).all()


def test_cuts_are_jumps_of_place_or_size_and_not_motion():
    slow = np.stack([picture(mesh_model().canonical, place=(x, 0.0, 0.0)) for x in np.arange(0, 60, 6.0)])
    assert not cuts(slow, np.ones(10, bool)).any()
    assert cuts(track([0, 0, 0, 200, 200], []).points, np.ones(5, bool)).tolist() == [False, False, False, True, False]
    zoom = np.stack([picture(mesh_model().canonical, size=size) for size in (60, 60, 130, 130)])
    assert cuts(zoom, np.ones(4, bool)).tolist() == [False, False, True, False]


def test_nothing_is_smoothed_across_a_cut_or_a_gap():
    time = np.arange(40) / 25
    usable = np.ones(40, bool)
    usable[10:18] = False
    cut = np.arange(40) == 30
    line = timeline(time, usable, cut, max_gap=0.2)
    assert [(run[0], run[-1]) for run in line.runs] == [(0, 9), (18, 29), (30, 39)]
    values = np.where(np.arange(40) < 30, 0.0, 1.0)
    np.testing.assert_allclose(smooth(values, line, sigma=0.1), values, atol=1e-12)
    np.testing.assert_array_equal(running_median(values, line, seconds=0.4), values)


def test_long_shots_have_a_typical_value_of_their_own_and_short_ones_the_common_one():
    time, cut = np.arange(55) / 5, np.zeros(55, bool)
    cut[[25, 50]] = True  # shots of 5, 5 and 1 s
    usable = np.ones(55, bool)
    usable[3] = False
    values = np.repeat([1.0, 2.0, 7.0], [25, 25, 5])
    centred = from_shot_median(values, timeline(time, usable, cut, max_gap=0.5))
    assert np.isnan(centred[3])
    np.testing.assert_array_equal(centred[usable], np.repeat([0.0, 0.0, 5.0], [24, 25, 5]))


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.lists(st.booleans(), min_size=60, max_size=60))
def test_runs_hold_every_usable_frame_once(usable, cut):
    usable = np.array(usable)
    line = timeline(np.arange(len(usable)) / 25, usable, np.array(cut[: len(usable)]), max_gap=0.05)
    assert line.used.tolist() == np.flatnonzero(usable).tolist()
    assert all(len(set(line.shot[run].tolist())) == 1 for run in line.runs)


def test_smoothing_keeps_the_mean_and_calms():
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    line = timeline(np.arange(200) / 25, np.ones(200, bool), np.zeros(200, bool), max_gap=0.2)
    calm = smooth(values, line, sigma=0.08)
    assert calm.std() < 0.6 * values.std()
    assert abs(calm.mean() - values.mean()) < 0.05


def test_stable_points_are_symmetric():
    mirror = mesh_model().mirror
    assert {int(mirror[point]) for point in STABLE} == set(STABLE)
