"""py-feat's own detectors on random weights in the real formats, and which of several faces is followed."""

from __future__ import annotations

import json
import os
import socket

import numpy as np
import pytest

from pipeline.faces.backends.dlib68 import DLIB68
from pipeline.faces.backends.pyfeat import Follower, PyfeatBackend
from pipeline.faces.backends.pyfeat_weights import _WEIGHTS, offline
from pipeline.faces.config import FacesConfig, PyfeatConfig
from pipeline.faces.meshmodel import mesh_model
from pipeline.media import frames
from tests.pipeline.faces import ALONE


def test_a_face_keeps_being_followed_past_a_larger_one():
    follow = Follower()
    speaker, passer = np.array([100.0, 50, 60, 60]), np.array([300.0, 10, 90, 90])
    assert follow(np.array([speaker]), 0.0) == 0
    assert follow(np.array([passer, speaker + 5]), 0.04) == 1
    assert follow(np.array([passer]), 0.08) is None  # not the speaker
    assert follow(np.array([passer, speaker + 9]), 0.4) == 1  # back again
    assert follow(np.array([passer]), 2.0) == 0  # gone for good: the next one
    assert follow(np.zeros((0, 4)), 2.1) is None


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
    patch.setattr("pipeline.faces.backends.pyfeat_weights.cache_folder", lambda: folder)
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

    assert tuple(DLIB68_FROM_MP478) == DLIB68
    assert (_WEIGHTS["v2"][1].repo, _WEIGHTS["v2"][1].names[0]) == (HF_REPO, HF_WEIGHTS_FILE)
