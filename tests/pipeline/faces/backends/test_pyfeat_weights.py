"""Missing weights are named; fetching needs a network."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.errors import InputError
from pipeline.faces.backends.pyfeat import PyfeatBackend
from pipeline.faces.backends.pyfeat_weights import cache_folder, fetch_models, find_weights
from pipeline.faces.config import FacesConfig, PyfeatConfig
from pipeline.faces.extractor import FacesExtractor
from pipeline.media import frames
from tests.pipeline.faces import ALONE


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
        "from pipeline.faces.backends.pyfeat_weights import fetch_models\n"
        f"try: fetch_models(Path({str(tmp_path)!r}))\n"
        "except InputError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "HF_HUB_OFFLINE" in run.stdout
    assert fetch_models.__doc__


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
