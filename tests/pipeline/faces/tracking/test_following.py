"""Several faces, each followed as a track of its own."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.faces.config import FacesConfig
from pipeline.faces.tracking import following
from pipeline.faces.tracking.following import FaceFollower
from pipeline.media import Frame
from tests.pipeline.faces.conftest import CONFIG, side_by_side


@pytest.fixture(scope="module")
def follow():
    return FaceFollower(CONFIG)


def nothing(*_):
    return {}


def spans(scene):
    return [(face.shot, face.frames[0], face.frames[-1]) for face in scene.faces]


def test_two_faces_are_two_tracks_with_the_points_that_each_has_alone(follow, shown):
    flipped = [Frame(frame.time, np.ascontiguousarray(frame.image[:, ::-1])) for frame in shown]
    scene = follow(side_by_side(shown, flipped), nothing)
    assert [len(face.frames) for face in scene.faces] == [45, 45]
    alone = follow(shown, nothing).faces[0]
    width = shown[0].image.shape[1]
    left = min(scene.faces, key=lambda face: face.points[0][0, 0])
    right = max(scene.faces, key=lambda face: face.points[0][0, 0])
    eyes = np.linalg.norm(alone.points[0][33] - alone.points[0][263])
    assert np.abs(np.stack(left.points)[10:, :, :2] - np.stack(alone.points)[10:, :, :2]).mean() < 0.02 * eyes
    assert np.stack(right.points)[:, :, 0].min() > width


def test_frames_are_worked_on_in_blocks_and_it_shows_nowhere(follow, shown, monkeypatch):
    other = [Frame(10 + frame.time, np.ascontiguousarray(255 - frame.image[::-1])) for frame in shown[:20]]
    film = [*shown[:20], *other, *(replace(frame, time=20 + frame.time) for frame in shown[:9])]
    scenes = []
    for size in (1, 7, 16, 100):
        monkeypatch.setattr(following, "_BLOCK", size)
        scenes.append(follow(iter(film), lambda face, image, points, time: {"time": np.float32([time])}))
    assert spans(scenes[0])[0] == (0, 0, 19)
    assert spans(scenes[0])[-1] == (2, 40, 48)
    for scene in scenes:
        assert spans(scene) == spans(scenes[0])
        np.testing.assert_array_equal(scene.shot, scenes[0].shot)
        for face, first in zip(scene.faces, scenes[0].faces, strict=True):
            np.testing.assert_array_equal(np.stack(face.points), np.stack(first.points))
            assert [reading["time"] for reading in face.readings] == [np.float32(film[i].time) for i in face.frames]


def test_no_more_faces_than_wanted_and_the_largest_first(shown):
    small = [
        Frame(frame.time, cv2.copyMakeBorder(cv2.resize(frame.image, None, fx=0.6, fy=0.6), 0, 96, 0, 0, 0)[:240])
        for frame in shown[:8]
    ]
    scene = FaceFollower(FacesConfig(max_faces=1))(side_by_side(small, shown[:8]), nothing)
    assert len(scene.faces) == 1
    assert scene.faces[0].points[0][:, 0].min() > small[0].image.shape[1]


def test_a_cut_ends_every_track_even_where_the_next_face_is_at_the_same_place(follow, shown):
    other = [Frame(f.time + 1.5, 255 - f.image[:, ::-1] // 2) for f in shown[:15]]  # another light and background
    other = [replace_face(frame, source) for frame, source in zip(other, shown, strict=False)]
    scene = follow([*shown[:15], *other], nothing)
    assert scene.shot.tolist() == [0] * 15 + [1] * 15
    assert spans(scene) == [(0, 0, 14), (1, 15, 29)]


def replace_face(frame, source):
    """Put the source's middle, where the face is, into a picture."""
    image = frame.image.copy()
    width = image.shape[1]
    image[:, width // 4 : -width // 4] = source.image[:, width // 4 : -width // 4]
    return Frame(frame.time, np.ascontiguousarray(image))


def test_a_face_that_leaves_and_returns_is_one_face_again(follow, shown):
    half = shown[0].image.shape[1]
    x0, y0 = (int(value) for value in follow(shown[:1], nothing).faces[0].points[0][:, :2].min(axis=0))
    left = [Frame(frame.time, frame.image.copy()) for frame in shown]
    for frame in left[15:27]:  # something as grey as the skin before the face for .4 s: not a cut
        covered = frame.image[y0 - 20 : y0 + 130, x0 - 10 : x0 + 110]
        covered[:] = covered.mean(axis=(0, 1))
    scene = follow(side_by_side(left, shown), nothing)
    sides = [face for face in scene.faces if face.points[0][:, 0].max() < half]
    assert not scene.shot.any()
    assert len(sides) == 1
    assert len(set(range(16, 26)) & set(sides[0].frames)) < 5
    assert sides[0].frames[-1] == 44


def test_following_depends_on_nothing_that_went_before(follow, shown):
    first = follow(shown[:10], nothing)
    follow(side_by_side(shown, shown)[:6], nothing)
    again, fresh = follow(shown[:10], nothing), FaceFollower(CONFIG)(shown[:10], nothing)
    for scene in (again, fresh):
        np.testing.assert_array_equal(np.stack(scene.faces[0].points), np.stack(first.faces[0].points))
