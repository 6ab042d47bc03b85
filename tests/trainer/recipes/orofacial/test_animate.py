"""A film of the face that a sound moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.trainer.recipes.orofacial.conftest import ABOUT
from trainer.data.normalisation import Normalisation
from trainer.data.tracks import TrackScale
from trainer.errors import InputError
from trainer.models.checkpoint import save_model
from trainer.recipes.orofacial.network import FaceSpec, load_face


@pytest.fixture
def face_model(tmp_path: Path) -> Path:
    """An untrained model that knows the pipeline's own features and points."""
    from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
    from pipeline.faces.meshmodel import mesh_model
    from pipeline.orofacial.mouth import NAMES as POINTS

    names = tuple(AcousticsExtractor(AcousticsConfig()).metadata()["feature_names"])
    ones, zeros = np.ones(len(names), np.float32), np.zeros(len(names), np.float32)
    canonical = mesh_model().canonical
    rest = [canonical[int(name.split("_")[-2]), "xy".index(name[-1])] for name in POINTS]
    still = np.zeros(len(POINTS), np.float32)
    scale = TrackScale(tuple(POINTS), still, still + 0.05, 10.0)
    shape: dict[str, Any] = {"structure": "shared", "hidden": 4, "layers": 1, "dropout": 0.0, "classes": {}}
    spec = FaceSpec(**shape, feature_names=names, frame_period=0.016, normalisation=Normalisation(zeros, ones, 3.0),
                    scale=scale, rest=np.array(rest, np.float32))  # fmt: skip
    torch.manual_seed(0)
    about = {"shards_metadata": {"frame_centre": 0.016, "config": ABOUT["config"]}}
    save_model(tmp_path / "face", spec.build(), spec=spec, provenance=about, metrics={}, history=pd.DataFrame())
    return tmp_path / "face"


def test_animate_makes_a_film_with_sound_of_the_right_length(face_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("opensmile")
    import soundfile

    from pipeline.media import decode_audio, frames, probe
    from trainer.recipes.orofacial.animate import SIZE, animate

    rate, time = 22050, np.arange(int(1.3 * 22050)) / 22050
    buzz = np.sign(np.sin(2 * np.pi * 140 * time)) * 0.2 * (1 + np.sin(2 * np.pi * 3 * time)) * (time > 0.4)
    soundfile.write(tmp_path / "voice.wav", buzz, rate)
    film = tmp_path / "new" / "face.mp4"
    assert animate(tmp_path / "voice.wav", face_model, film) == pytest.approx(1.28)
    info = probe(film)
    assert info.has_audio
    assert (info.fps, info.width, info.height) == (25.0, SIZE, SIZE)
    assert info.duration == pytest.approx(1.3, abs=0.06)
    sound = decode_audio(film, sample_rate=rate)
    level = [float(np.sqrt(np.mean(np.square(part)))) for part in (sound[: int(0.3 * rate)], sound[int(0.5 * rate) :])]
    assert level[0] < 0.02 < 0.1 < level[1]
    pictures = [frame.image for frame in frames(film)]
    assert len(pictures) == 32
    assert any(not np.array_equal(pictures[0], picture) for picture in pictures[1:])
    red = (pictures[0][..., 0].astype(int) - pictures[0][..., 1] > 60).nonzero()
    assert len(red[0]) > 100
    assert 0.5 < red[0].mean() / SIZE < 0.8  # lips lie in the lower half


def test_animate_refuses_what_has_no_sound_and_other_models(face_model: Path, tmp_path: Path) -> None:
    from trainer.recipes.orofacial.animate import animate

    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"text\.wav"):
        animate(tmp_path / "text.wav", face_model, tmp_path / "face.mp4")
    with pytest.raises(InputError, match="no model folder"):
        animate(tmp_path / "text.wav", tmp_path, tmp_path / "face.mp4")


def test_the_face_of_new_sound_is_the_face_of_the_same_shards(face_model: Path, tmp_path: Path) -> None:
    """The features that animate makes of a file are those of the pipeline's stages on that file."""
    from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
    from pipeline.audio import AudioConfig, AudioExtractor
    from trainer.recipes.orofacial.animate import features_of

    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "v.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    item = {"media_path": str(tmp_path / "v.wav"), "start": 0.0, "end": 1.0}
    row = AcousticsExtractor(AcousticsConfig())({"flac": AudioExtractor(AudioConfig())(item)["flac"]})
    np.testing.assert_array_equal(features_of(tmp_path / "v.wav", load_face(face_model)).ravel(), row["lld"])
