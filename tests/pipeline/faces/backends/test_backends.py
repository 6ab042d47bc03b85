"""The optional backends: blendshapes from a given model file, and py-feat's own detectors."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.faces.action_units import AU_NAMES
from pipeline.faces.align import align
from pipeline.faces.backends.blendshapes import BLENDSHAPES, BlendshapeBackend, refine
from pipeline.faces.backends.pyfeat import (
    DLIB68,
    Follower,
    PyfeatBackend,
    cache_folder,
    dense_points,
    fetch_models,
    find_weights,
    offline,
)
from pipeline.faces.config import FacesConfig, PyfeatConfig
from pipeline.faces.extractor import FacesExtractor
from pipeline.faces.meshmodel import mesh_model
from pipeline.faces.timeline import timeline
from pipeline.media import frames
from tests import SHARED

FEAT = Path(importlib.util.find_spec("feat").submodule_search_locations[0])
ALONE = FEAT / "tests" / "data" / "single_face.mp4"
TASK = SHARED / "models" / "face_landmarker.task"

# --- blendshapes -------------------------------------------------------------------------------------------


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
    moved = np.abs(row["landmarks"] - plain["landmarks"]).reshape(-1, 478, 3)[..., :2]
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


# --- py-feat: what can be tested without its weights -------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            PyfeatConfig(detector="v2"),
            ["face_multitask_v28.safetensors", "py-feat/face_multitask_v2", "retinaface_r34"],
        ),
        (PyfeatConfig(detector="v1"), ["mobilefacenet", "xgb_au_classifier_v2.skops", "py-feat/xgb_au"]),
        (PyfeatConfig(detector="v1", au_model="svm"), ["py-feat/svm_au", "svm_au_classifier_v2.skops"]),
    ],
    ids=["v2", "v1 xgb", "v1 svm"],
)
def test_missing_weights_are_named_with_their_place_and_the_remedy(config, words, tmp_path):
    with pytest.raises(InputError) as caught:
        find_weights(config, tmp_path)
    for word in [*words, str(tmp_path), "python -m pipeline models fetch", "https://huggingface.co/"]:
        assert word in str(caught.value)


def test_the_real_backend_names_missing_weights_before_anything_heavy_is_loaded():
    if any(cache_folder().glob("models--py-feat--*")):
        pytest.skip("py-feat's weights are here")
    with pytest.raises(InputError, match="models fetch"):
        FacesExtractor(FacesConfig(backend="pyfeat")).metadata()


def test_fetching_offline_says_so(tmp_path):
    code = (
        "from pathlib import Path; from pipeline.errors import InputError\n"
        "from pipeline.faces.backends.pyfeat import fetch_models\n"
        f"try: fetch_models(Path({str(tmp_path)!r}))\n"
        "except InputError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "HF_HUB_OFFLINE" in run.stdout
    assert fetch_models.__doc__


def test_a_face_keeps_being_followed_past_a_larger_one():
    follow = Follower()
    speaker, passer = np.array([100.0, 50, 60, 60]), np.array([300.0, 10, 90, 90])
    assert follow(np.array([speaker]), 0.0) == 0
    assert follow(np.array([passer, speaker + 5]), 0.04) == 1
    assert follow(np.array([passer]), 0.08) is None  # not the speaker
    assert follow(np.array([passer, speaker + 9]), 0.4) == 1  # back again
    assert follow(np.array([passer]), 2.0) == 0  # gone for good: the next one
    assert follow(np.zeros((0, 4)), 2.1) is None


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


# --- py-feat: real loading and inference on random weights in the real formats ------------------------------


def hub(folder, repo, name, write):
    """Put a file where the hub's cache would have it."""
    place = folder / f"models--{repo.replace('/', '--')}"
    snapshot = place / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True, exist_ok=True)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text("0123456789abcdef")
    write(snapshot / name)


@pytest.fixture(scope="module")
def feat_with_weights(tmp_path_factory):
    """py-feat looking into a cache of random weights: real layouts, networks as small as the formats allow."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import feat.detector
    import feat.utils.io
    import torch
    from feat.face_detectors.Retinaface.Retinaface_test import Retinaface
    from feat.landmark_detectors.mobilefacenet_test import MobileFaceNet
    from feat.multitask.model_v2 import MEGraphAUv2, ModelV2Config
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub")
    face = few_large_boxes(Retinaface(device="cpu", pretrained="none").net.state_dict())
    hub(folder, "py-feat/retinaface_r34", "model.safetensors", lambda path: save_file(face, path))
    config = {
        "backbone": "convnextv2_atto",
        "n_au": 20,
        "n_emotion": 7,
        "n_blendshape": 52,
        "mesh_normalized": True,
        "use_head_v3": True,
        "drop_mefl": True,
        "afg_channels": 64,
        "mefl_channels": 64,
    }
    multitask = {
        name: value.contiguous()
        for name, value in MEGraphAUv2(ModelV2Config(**config, pretrained=False)).state_dict().items()
    }
    hub(
        folder,
        "py-feat/face_multitask_v2",
        "face_multitask_v28.safetensors",
        lambda path: save_file(multitask, path, metadata={"config": json.dumps(config)}),
    )
    mobile = {"state_dict": face_like(MobileFaceNet([112, 112], 136, device="cpu").state_dict())}
    hub(folder, "py-feat/mobilefacenet", "mobilefacenet_model_best.pth.tar", lambda path: torch.save(mobile, path))
    hub(folder, "py-feat/xgb_au", "xgb_au_classifier_v2.skops", write_xgb)
    patch = pytest.MonkeyPatch()
    patch.setattr(feat.utils.io, "get_resource_path", lambda: str(folder))
    patch.setattr(feat.detector, "get_resource_path", lambda: str(folder))
    patch.setattr("pipeline.faces.backends.pyfeat.cache_folder", lambda: folder)
    yield folder
    patch.undo()


def few_large_boxes(state):
    """Make RetinaFace call the smaller anchors of the coarsest level faces, and leave them where they are."""
    import torch

    for name, value in state.items():
        if name.startswith(("ClassHead", "BboxHead")):
            value.zero_()
        if name.startswith("ClassHead") and name.endswith("bias"):
            # Two anchors, (background, face) each; boxes of 256 px are the smaller ones of the last level.
            coarsest = name == "ClassHead._convs.2.bias"
            value.copy_(torch.tensor([-5.0, 5.0, 5.0, -5.0] if coarsest else [5.0, -5.0, 5.0, -5.0]))
    return state


def face_like(state):
    """Make the landmark network answer a face whatever it sees, a little moved by what it sees."""
    import torch

    face = mesh_model().canonical[list(DLIB68), :2] * [0.4, -0.4] + [0.5, 0.4]
    state["output_layer.bn.bias"] = torch.tensor(face.ravel(), dtype=torch.float32)
    state["output_layer.bn.weight"] = torch.full((136,), 0.01)
    return state


def write_xgb(path):
    """A classifier bundle as py-feat 2.1 stores it: scalers, PCAs and one small xgboost model a unit, in skops."""
    import skops.io
    import xgboost
    from feat.au_detectors.StatLearning.SL_test import XGBClassifier
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    hog, parts, width = rng.random((40, 5408)), {}, 4
    for part in ("upper", "lower", "full"):
        scaler = StandardScaler().fit(hog)
        parts[f"scaler_{part}"] = scaler
        parts[f"pca_model_{part}"] = PCA(width, random_state=0).fit(scaler.transform(hog))
    bundle = XGBClassifier()
    features, truth = rng.random((40, width + 136)), np.arange(40) % 2
    models = {key: xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(features, truth) for key in bundle.au_keys}
    bundle.load_weights(**parts, classifiers=models)
    skops.io.dump(bundle, path)


@pytest.fixture(scope="module")
def shown():
    return [frame for _, frame in zip(range(5), frames(ALONE, max_height=180), strict=False)]


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["v1", "v2"])
def test_py_feats_detectors_load_and_run_on_decoded_frames(feat_with_weights, shown, detector, monkeypatch):
    import torch

    # Regression: at the first frames py-feat asked the hub for a file that is not used, half a minute of retries.
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **_: asked.append(where) or [])
    config = FacesConfig(backend="pyfeat", pyfeat=PyfeatConfig(detector=detector, batch_size=2))
    backend = PyfeatBackend(config)
    assert "0123456789abcdef" in json.dumps(backend.metadata())
    track = backend(shown)
    assert track.points.shape == (5, 478, 3)
    assert track.aus.shape == (5, 20)
    found = np.isfinite(track.points[:, 0, 0])
    assert found.any()
    assert np.isfinite(track.aus[found]).all()
    assert ((track.aus[found] >= 0) & (track.aus[found] <= 1)).all()
    # The same faces as py-feat's own entry point finds in the same pictures.
    stacked = torch.from_numpy(np.stack([frame.image for frame in shown])).permute(0, 3, 1, 2).contiguous()
    with offline():
        theirs = backend._detector.detect(stacked, data_type="tensor", batch_size=5, progress_bar=False)
    mine = backend._detect([frame.image for frame in shown])
    assert not asked
    for index, faces in enumerate(mine):
        rows = theirs[theirs["frame"] == index]
        assert len(rows) == len(faces.boxes)
        np.testing.assert_allclose(rows["FaceRectX"].to_numpy(float), faces.boxes[:, 0], rtol=1e-3, atol=0.05)
        np.testing.assert_allclose(rows["AU12"].to_numpy(float), faces.aus[:, 9], atol=1e-4)
    again = PyfeatBackend(config)(shown)
    np.testing.assert_array_equal(again.aus, track.aus)


@pytest.mark.slow
def test_constants_are_py_feats():
    from feat.multitask.inference import HF_REPO, HF_WEIGHTS_FILE
    from feat.utils.blendshape_to_au import DLIB68_FROM_MP478

    from pipeline.faces.backends.pyfeat import _WEIGHTS

    assert tuple(DLIB68_FROM_MP478) == DLIB68
    assert (_WEIGHTS["v2"][1].repo, _WEIGHTS["v2"][1].names[0]) == (HF_REPO, HF_WEIGHTS_FILE)


@pytest.mark.slow
def test_constructing_py_feat_with_an_empty_cache_gives_the_same_message(tmp_path, monkeypatch):
    """Past our own look into the cache: py-feat itself does not find a file."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import feat.utils.io
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(feat.utils.io, "get_resource_path", lambda: str(tmp_path))
    monkeypatch.setattr("pipeline.faces.backends.pyfeat.find_weights", lambda config: {})
    with pytest.raises(InputError, match="models fetch"):
        PyfeatBackend(FacesConfig(backend="pyfeat"))([next(frames(ALONE))])
