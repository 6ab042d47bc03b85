"""Rows of films with several faces, and of films as they come."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.faces.backends import BACKENDS
from pipeline.faces.config import FacesConfig
from pipeline.faces.extractor import FacesExtractor
from pipeline.faces.landmarks import from_steps
from pipeline.faces.tracking.choosing import ONLY, PROMINENT, TALKS
from pipeline.media import Frame
from tests.pipeline.conftest import run_ffmpeg
from tests.pipeline.faces import ALONE
from tests.pipeline.faces.conftest import CONFIG, film_of_two, side_by_side


def test_a_row_says_how_many_faces_and_why_this_one(tmp_path):
    film = film_of_two(tmp_path)
    extract = FacesExtractor(CONFIG)
    item = {"media_path": str(film), "start": 0.0, "end": None, "segment_id": "x#000", "has_video": True}
    row = extract(item)
    assert row["n_faces"] == 2
    assert row["chosen_by"] in (TALKS, PROMINENT)
    assert np.isfinite(row["talk_score"])
    assert row["shot"].shape == (row["n_frames"],)
    mute = extract({**item, "has_audio": False})
    assert (mute["chosen_by"], mute["talk_score"]) == (PROMINENT, None)
    only = extract({**item, "media_path": str(ALONE), "end": 1.0})
    assert (only["n_faces"], only["chosen_by"], only["talk_score"]) == (1, ONLY, None)
    again = FacesExtractor(CONFIG)(item)
    for name, value in row.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)


def rotated(folder):
    """A phone's film: pixels lie on their side, the file says how to turn them."""
    run_ffmpeg("-t", "1", "-i", ALONE, "-vf", "transpose=1", "-an", folder / "side.mp4")
    run_ffmpeg("-display_rotation", "90", "-i", folder / "side.mp4", "-c", "copy", folder / "film.mp4")


def covered(folder):
    """A film with a larger cover picture as its second video stream."""
    run_ffmpeg("-i", ALONE, "-frames:v", "1", "-vf", "scale=1600:-2,hue=h=90", folder / "cover.png")
    streams = ["-map", "0:v", "-map", "1:v", "-c", "copy", "-disposition:v:1", "attached_pic"]
    run_ffmpeg("-t", "1", "-i", ALONE, "-i", folder / "cover.png", *streams, folder / "film.mp4")


def slow_and_fast(folder):
    """A variable frame rate: 10 frames a second at first, 60 later."""
    drop = "fps=60,select='if(lt(t,0.5),not(mod(n,6)),1)'"
    run_ffmpeg("-t", "1", "-i", ALONE, "-vf", drop, "-fps_mode", "vfr", "-an", folder / "film.mp4")


@pytest.mark.parametrize("make", [rotated, covered, slow_and_fast])
def test_films_as_they_come_give_the_face_that_the_plain_film_gives(make, tmp_path):
    make(tmp_path)
    extract = FacesExtractor(FacesConfig(max_fps=60))
    item = {"start": 0.0, "end": 0.9, "segment_id": "x#000", "has_video": True}
    plain = extract({**item, "media_path": str(ALONE)})
    row = extract({**item, "media_path": str(tmp_path / "film.mp4")})
    assert row["valid"].all()
    assert (row["n_faces"], row["chosen_by"]) == (1, ONLY)
    assert not row["shot"].any()
    at = np.abs(plain["time"][:, None] - row["time"]).argmin(axis=0)
    faces = [from_steps(one)[:, :, :2] for one in (plain, row)]
    assert np.median(np.abs(faces[0][at] - faces[1])) < 0.02
    angles = [one["pose"].reshape(-1, 3) for one in (plain, row)]
    assert np.abs(np.median(angles[0][at] - angles[1], axis=0)).max() < 3


@pytest.mark.slow
def test_blendshapes_are_those_of_the_face_that_counts(shared_data, shown):
    task = shared_data.parent / "models" / "face_landmarker.task"
    blank = [Frame(frame.time, cv2.GaussianBlur(frame.image[:, ::-1], (0, 0), 3)) for frame in shown]
    config = FacesConfig(backend="blendshapes", blendshapes_model=task)
    backend = BACKENDS["blendshapes"](config)
    alone, both = backend(shown), backend(side_by_side(shown, blank))
    assert both.n_faces == 2
    left = both.points[:, :, 0].max() < shown[0].image.shape[1]
    assert left or both.points[:, :, 0].min() > shown[0].image.shape[1]
    assert np.isfinite(both.blendshapes).all()
    if left:
        assert np.abs(both.blendshapes - alone.blendshapes)[10:].mean() < 0.02
