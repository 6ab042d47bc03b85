"""The backend with blendshapes, from a given model file."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.faces.action_units import AU_NAMES
from pipeline.faces.backends.blendshapes import BLENDSHAPES, BlendshapeBackend, refine
from pipeline.faces.config import FacesConfig
from pipeline.faces.extractor import FacesExtractor
from pipeline.faces.landmarks import from_steps
from pipeline.faces.timeline import timeline
from pipeline.media import frames
from tests import SHARED
from tests.pipeline.faces import ALONE

TASK = SHARED / "models" / "face_landmarker.task"


@pytest.fixture
def task():
    if not TASK.is_file():
        pytest.skip("no face_landmarker.task beside the repository (../shared/models)")
    return TASK


def test_blendshapes_say_what_they_need(tmp_path):
    with pytest.raises(InputError, match=r"needs faces\.blendshapes_model"):
        FacesExtractor(FacesConfig(backend="blendshapes")).metadata()
    with pytest.raises(InputError, match="no file"):
        BlendshapeBackend(FacesConfig(blendshapes_model=tmp_path / "face_landmarker.task"))
    other = tmp_path / "other.task"
    other.write_bytes(b"other")
    with pytest.raises(InputError, match="SHA-256"):
        BlendshapeBackend(FacesConfig(blendshapes_model=other, blendshapes_sha256="0" * 64))


def test_blendshapes_run_on_a_real_face_and_record_the_model(task):
    digest = hashlib.sha256(task.read_bytes()).hexdigest()
    config = FacesConfig(backend="blendshapes", blendshapes_model=task, blendshapes_sha256=digest)
    extract = FacesExtractor(config)
    metadata = extract.metadata()
    assert metadata["models"]["face_landmarker.task"]["sha256"] == digest
    item = {"media_path": str(ALONE), "start": 0.0, "end": 1.0, "segment_id": "x#000", "has_video": True}
    row = extract(item)
    assert row["valid"].all()
    assert np.isfinite(row["aus"]).all()
    again = extract(item)
    np.testing.assert_array_equal(row["aus"], again["aus"])
    plain = FacesExtractor(FacesConfig())(item)
    moved = np.abs(from_steps(row) - from_steps(plain))[..., :2]
    assert np.median(moved) < 0.03  # the same points as FaceMesh's
    assert not np.array_equal(row["aus"], plain["aus"])


def test_refining_moves_the_named_units_and_leaves_gaps_alone():
    n = 60
    line = timeline(np.arange(n) / 30, np.ones(n, bool), np.zeros(n, bool), max_gap=0.2)
    shapes = np.zeros((n, len(BLENDSHAPES)))
    raised = shapes.copy()
    raised[20:40, BLENDSHAPES.index("browOuterUpLeft")] = 0.8
    raised[:10] = np.nan
    flat = np.zeros((n, 20), np.float32)
    low, high = (refine(flat, s, line, sigma=0.0) for s in (shapes, raised))
    brow, other = AU_NAMES.index("AU02"), AU_NAMES.index("AU12")
    assert (high[20:40, brow] > low[20:40, brow] + 0.5).all()
    assert (high[:10] == 0).all()
    assert (high[:, other] == 0).all()
    assert not flat.any()


def test_blendshape_names_are_the_models(task):
    shown = [frame for _, frame in zip(range(2), frames(ALONE), strict=False)]
    track = BlendshapeBackend(FacesConfig(blendshapes_model=task))(shown)
    assert track.blendshapes.shape == (2, len(BLENDSHAPES))
    assert ((track.blendshapes >= 0) & (track.blendshapes <= 1)).all()
