"""Fewer looks at a calm face: where they may be saved, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from pipeline.faces.config import FacesConfig
from pipeline.faces.tracking import following
from pipeline.faces.tracking.following import FaceFollower
from pipeline.faces.tracking.scene import Face
from pipeline.faces.tracking.sparing import LIDS, fill, looks_between, shape_of, travel
from pipeline.media import Frame
from tests.pipeline.faces.conftest import CONFIG, side_by_side

ADAPTIVE = FacesConfig(adaptive=True, adaptive_frames=4, adaptive_step=0.2)


@pytest.fixture(scope="module")
def follow():
    return FaceFollower(ADAPTIVE)


@pytest.fixture(scope="module")
def full():
    return FaceFollower(CONFIG)


def watched(follow, film):
    """Return the scene and the frames that were looked at, in the order in which they were read."""
    looked = []
    scene = follow(iter(film), lambda face, image, points, time: looked.append(time) or {"time": np.float32([time])})
    index = {frame.time: number for number, frame in enumerate(film)}
    return scene, [index[time] for time in looked]


def still(frame, count, *, rate=25.0, start=0.0):
    return [Frame(start + number / rate, frame.image) for number in range(count)]


def shut(frame, points):
    """The picture with skin drawn over the eyes."""
    image = frame.image.copy()
    for lids in (LIDS[:6], LIDS[6:]):
        x0, y0 = points[list(lids), :2].min(axis=0).astype(int)
        x1, y1 = points[list(lids), :2].max(axis=0).astype(int)
        margin = (x1 - x0) // 2
        skin = image[y1 + 2 * margin : y1 + 3 * margin, x0:x1].mean(axis=(0, 1)).astype(np.uint8)
        cv2.rectangle(image, (x0 - margin, y0 - 2), (x1 + margin, y1 + 2), skin.tolist(), -1)
    return image


def test_a_calm_face_is_looked_at_seldom_and_is_found_in_every_frame(follow, shown):
    scene, looked = watched(follow, still(shown[0], 41))
    assert scene.faces[0].frames == list(range(41))
    assert len(looked) <= 41 // 3
    assert looked[-1] == 40
    assert len(scene.faces[0].skipped) == 41 - len(looked)
    times = [float(reading["time"][0]) for reading in scene.faces[0].readings]
    np.testing.assert_allclose(times, scene.time, atol=1e-5)  # what is read lies on lines, too


def test_a_blink_is_looked_at_frame_by_frame(follow, full, shown):
    points = full(shown[:1], lambda *_: {}).faces[0].points[0]
    film = still(shown[0], 41)
    film[18:24] = [replace(frame, image=shut(shown[0], points)) for frame in film[18:24]]
    shapes = [shape_of(points) for points in full(film, lambda *_: {}).faces[0].points]
    assert travel(shapes[16], shapes[20]) > 1.2 * ADAPTIVE.adaptive_movement  # the drawn lids are read as a movement
    _, looked = watched(follow, film)
    assert {17, 18, 23, 24} <= set(looked)
    assert len(looked) < 25


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 16, 17, 18, 33])
def test_the_last_frame_is_always_looked_at(follow, shown, count):
    scene, looked = watched(follow, still(shown[0], count))
    assert looked[-1] == count - 1
    assert scene.faces[0].frames == list(range(count))


def test_no_frames_give_no_faces(follow):
    assert watched(follow, [])[0].faces == []


def test_with_no_movement_allowed_every_frame_is_looked_at(shown):
    _, looked = watched(FaceFollower(ADAPTIVE.model_copy(update={"adaptive_movement": 0.0})), shown[:20])
    assert looked == list(range(20))


def test_no_two_looks_are_farther_apart_than_configured_whatever_the_frame_rate(follow, shown):
    steps = np.tile([0.02, 0.04, 0.04, 0.15, 0.25, 0.06], 8)
    times = np.concatenate([[0.0], np.cumsum(steps)])
    _, looked = watched(follow, [Frame(float(time), shown[0].image) for time in times])
    for a, b in pairwise(looked):
        assert b == a + 1 or times[b] - times[a] <= ADAPTIVE.adaptive_step + 0.003
    assert len(looked) < len(times)
    _, slow = watched(follow, still(shown[0], 12, rate=4.0))
    assert slow == list(range(12))


def test_cuts_and_lost_faces_are_those_of_the_full_rate(follow, full, shown):
    other = [Frame(2 + frame.time, np.ascontiguousarray(255 - frame.image[::-1])) for frame in shown[:20]]
    again = [replace(frame, time=4 + frame.time) for frame in shown[:9]]
    covered = [replace(frame, time=5 + frame.time, image=np.full_like(frame.image, 90)) for frame in shown[:10]]
    film = [*shown[:22], *other, *again, *covered]
    ours, theirs = watched(follow, film)[0], watched(full, film)[0]
    np.testing.assert_array_equal(ours.shot, theirs.shot)
    assert ours.shot.max() >= 2
    assert [(face.shot, face.frames) for face in ours.faces] == [(face.shot, face.frames) for face in theirs.faces]


def test_blocks_show_nowhere(follow, shown, monkeypatch):
    film = [*shown, *still(shown[-1], 20, start=10.0), *(replace(frame, time=20 + frame.time) for frame in shown[:9])]
    results = []
    for size in (1, 5, 16, 100):
        monkeypatch.setattr(following, "_BLOCK", size)
        results.append(watched(follow, side_by_side(film, film)))
    first, looked = results[0]
    assert len(first.faces) >= 2
    assert 0 < len(looked) < 2 * len(film)
    for scene, looks in results[1:]:
        assert looks == looked
        for face, same in zip(scene.faces, first.faces, strict=True):
            assert (face.frames, face.skipped) == (same.frames, same.skipped)
            np.testing.assert_array_equal(np.stack(face.points), np.stack(same.points))


def test_readings_are_taken_in_the_order_of_time(follow, shown):
    _, looked = watched(follow, shown)
    assert looked == sorted(looked)


def test_switched_off_nothing_is_passed_over(full, shown):
    scene, looked = watched(full, still(shown[0], 20))
    assert looked == list(range(20))
    assert scene.faces[0].skipped == []


def test_stretches_are_halved_only_where_the_face_moved(full, shown):
    points = full(shown[:1], lambda *_: {}).faces[0].points[0]
    size = float(np.linalg.norm(points[33] - points[263]))
    opened = points.copy()
    opened[list(LIDS), 1] += 0.1 * size
    where = {0: points, **dict.fromkeys((1, 2, 3, 4, 5), points), **dict.fromkeys((6, 7, 8), opened)}
    asked = []
    looked = looks_between(points, opened, 8, lambda at: asked.append(at) or where[at], limit=0.02)
    assert looked == set(asked) == {4, 6, 5}
    assert looks_between(points, points, 8, lambda at: pytest.fail("looked"), limit=0.02) == set()
    assert looks_between(points, opened, 8, lambda at: None, limit=0.02) is None


def test_a_heads_own_movement_is_no_movement_of_the_face(full, shown):
    points = full(shown[:1], lambda *_: {}).faces[0].points[0]
    turn = np.array([[0.9, -0.3], [0.3, 0.9]], np.float32)
    moved = points.copy()
    moved[:, :2] = 1.3 * points[:, :2] @ turn.T + [20, -7]
    assert travel(shape_of(points), shape_of(moved)) < 1e-4


def test_frames_passed_over_lie_on_lines_and_lost_ones_stay_lost():
    time = np.array([0.0, 0.04, 0.08, 0.2, 0.3])
    face = Face(0, 0, [0, 2, 4], [np.full((478, 3), value, np.float32) for value in (0, 1, 5)])
    face.readings = [{"a": np.float32([value])} for value in (0, 2, 4)]
    face.skipped = [1]
    fill(face, time)
    assert face.frames == [0, 1, 2, 4]
    assert [float(points[0, 0]) for points in face.points] == pytest.approx([0, 0.5, 1, 5])
    assert [float(reading["a"][0]) for reading in face.readings] == pytest.approx([0, 1, 2, 4])
