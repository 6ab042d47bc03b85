"""478 points through 68 landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.faces.align import align
from pipeline.faces.backends.dlib68 import DLIB68, dense_points
from pipeline.faces.meshmodel import mesh_model


def test_dense_points_pass_through_the_landmarks_and_keep_the_pose():
    model = mesh_model()
    y = np.radians(-25)
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    face = (model.canonical @ turn.T * 80) * [1, -1, -1] + [300, 200, 0]
    rng = np.random.default_rng(0)
    landmarks = face[list(DLIB68), :2] + rng.normal(size=(68, 2)) * 2
    dense = dense_points(landmarks[None])[0]
    np.testing.assert_allclose(dense[list(DLIB68), :2], landmarks, atol=1e-2)
    assert np.abs(dense - face)[:, :2].mean() < 4
    assert align(dense[None]).pose[0, 1] == pytest.approx(25, abs=6)
