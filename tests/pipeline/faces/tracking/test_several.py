"""Several faces, camera cuts, and which face counts."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.checks.talkers import pairs, put_beside, summarise, watch_all
from pipeline.faces.backends import BACKENDS
from pipeline.faces.config import FacesConfig
from pipeline.faces.extractor import FacesExtractor
from pipeline.faces.meshmodel import mesh_model
from pipeline.faces.tracking import following, talking
from pipeline.faces.tracking.choosing import ONLY, PROMINENT, TALKS, choose
from pipeline.faces.tracking.following import Face, FaceFollower, Scene
from pipeline.faces.tracking.shots import CutFinder
from pipeline.faces.tracking.talking import RATE, Sound, expected_motion, sound_of, talk_score
from pipeline.media import Frame, frames, probe
from tests.pipeline.conftest import run_ffmpeg

MEDIA = Path(importlib.util.find_spec("feat").submodule_search_locations[0]) / "tests" / "data"
ALONE = MEDIA / "single_face.mp4"
CONFIG = FacesConfig()


@pytest.fixture(scope="module")
def shown():
    return [frame for _, frame in zip(range(45), frames(ALONE, max_height=240), strict=False)]


@pytest.fixture(scope="module")
def follow():
    return FaceFollower(CONFIG)


def nothing(*_):
    return {}


def beside(one, two):
    """The picture twice: a face each."""
    return [Frame(a.time, np.hstack([a.image, b.image])) for a, b in zip(one, two, strict=True)]


def spans(scene):
    return [(face.shot, face.frames[0], face.frames[-1]) for face in scene.faces]


# --- following ---------------------------------------------------------------------------------------------


def test_two_faces_are_two_tracks_with_the_points_that_each_has_alone(follow, shown):
    flipped = [Frame(frame.time, np.ascontiguousarray(frame.image[:, ::-1])) for frame in shown]
    scene = follow(beside(shown, flipped), nothing)
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
    scene = FaceFollower(FacesConfig(max_faces=1))(beside(small, shown[:8]), nothing)
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
    scene = follow(beside(left, shown), nothing)
    sides = [face for face in scene.faces if face.points[0][:, 0].max() < half]
    assert not scene.shot.any()
    assert len(sides) == 1
    assert len(set(range(16, 26)) & set(sides[0].frames)) < 5
    assert sides[0].frames[-1] == 44


def test_following_depends_on_nothing_that_went_before(follow, shown):
    first = follow(shown[:10], nothing)
    follow(beside(shown, shown)[:6], nothing)
    again, fresh = follow(shown[:10], nothing), FaceFollower(CONFIG)(shown[:10], nothing)
    for scene in (again, fresh):
        np.testing.assert_array_equal(np.stack(scene.faces[0].points), np.stack(first.faces[0].points))


# --- cuts --------------------------------------------------------------------------------------------------


def cut_frames(images):
    cut = CutFinder()
    return [index for index, image in enumerate(images) if cut(image)]


@pytest.fixture(scope="module")
def scenery():
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (640, 360)) for _ in range(2)]


def test_a_cut_is_seen_in_the_frame_that_begins_the_shot(scenery):
    assert cut_frames([scenery[0]] * 8 + [scenery[1]] * 8 + [scenery[0]] * 8) == [8, 16]


def test_light_motion_and_noise_are_no_cuts(scenery):
    one = scenery[0].astype(np.float64)
    rng = np.random.default_rng(1)
    fade = [np.clip(one * level, 0, 255).astype(np.uint8) for level in np.linspace(1, 0, 20)]
    flash = [scenery[0]] * 6 + [np.clip(one * 0.5 + 120, 0, 255).astype(np.uint8)] + [scenery[0]] * 6
    pan = [np.ascontiguousarray(np.roll(scenery[0], 6 * step, axis=1)) for step in range(20)]
    noise = [np.clip(one + rng.normal(0, 20, one.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    black = [np.zeros((90, 160, 3), np.uint8)] * 4 + [np.full((90, 160, 3), 2, np.uint8)] * 4
    for images in (fade, flash, pan, noise, black):
        assert cut_frames(images) == []


def test_a_zoom_is_not_a_cut_a_frame(scenery):
    zoom = [cv2.resize(scenery[0][s : 360 - s, s : 640 - s], (640, 360)) for s in range(0, 160, 16)]
    assert len(cut_frames([scenery[0]] * 8 + zoom)) <= 1


@pytest.mark.slow
def test_cuts_between_people_framed_alike_and_none_within(shared_data):
    clips = [list(frames(path)) for path in sorted((shared_data / "grid" / "mixed").glob("*.mpg"))]
    images = [frame.image for clip in clips for frame in clip]
    begins = np.cumsum([len(clip) for clip in clips])[:-1].tolist()
    found = cut_frames(images)
    assert set(found) <= set(begins)
    assert len(found) >= len(begins) - 1


# --- who talks ---------------------------------------------------------------------------------------------


def babble(seed, seconds=6.0):
    """Sound with syllables at random times, as noise of random level and colour."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 1e-4, round(seconds * RATE))
    at = 0.2
    while at < seconds - 0.3:
        length = rng.uniform(0.08, 0.25)
        part = slice(round(at * RATE), round((at + length) * RATE))
        count = part.stop - part.start
        carrier = sum(np.sin(2 * np.pi * hertz * np.arange(count) / RATE) for hertz in rng.uniform(200, 3500, 12))
        samples[part] += rng.uniform(0.01, 0.1) * np.hanning(count) * carrier
        at += length + rng.uniform(0.05, 0.3)
    return samples.astype(np.float32)


def sound(samples, start=0.0):
    return Sound(start, lambda: samples)


def face(number, motion, time, *, place=(100.0, 100.0), size=40.0, shot=0, first=0, noise=0.3, seed=0):
    """A planted face whose mouth and jaw follow ``motion`` (n, 2), with noise of that share of it."""
    rng = np.random.default_rng(seed)
    motion = motion / motion.std(axis=0)
    motion = motion + noise * rng.normal(size=motion.shape)
    shape = np.tile(mesh_model().canonical * [1.0, -1.0, -1.0], (len(time), 1, 1))
    shape[:, [14, 178, 402], 1] += 0.03 * motion[:, :1] + 0.1
    shape[:, 152, 1] += 0.03 * motion[:, 1]
    points = (shape * size + [*place, 0.0]).astype(np.float32)
    return Face(number, shot, list(range(first, first + len(time))), list(points), [{}] * len(time))


def moves(samples, time, delay=0.0):
    clock = np.arange(len(samples) // 160 + 1) * 0.01
    return np.stack([np.interp(time + delay, clock, column) for column in expected_motion(samples).T], axis=1)


TIME = np.arange(150) / 25


def scene_of(*faces, time=TIME, shot=None, size=(400, 200)):
    return Scene(time, np.zeros(len(time), int) if shot is None else shot, size, list(faces))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 50),
    fps=st.sampled_from([10, 15, 25, 29.97, 60]),
    delay=st.sampled_from([0.0, 0.08, 0.2]),
    swap=st.booleans(),
)
def test_the_planted_talker_is_taken_whatever_side_rate_and_delay(seed, fps, delay, swap):
    voice, other = babble(seed), babble(seed + 1000)
    time = np.arange(round(6 * fps)) / fps
    talks, listens = (
        face(number, moves(samples, time, delay), time, place=place, seed=seed)
        for number, (samples, place) in enumerate(((voice, (100, 100)), (other, (300, 100))))
    )
    faces = [replace(listens, number=0), replace(talks, number=1)] if swap else [talks, listens]
    choice = choose(scene_of(*faces, time=time), sound(voice))
    assert choice.rule == TALKS
    assert choice.n_faces == 2
    assert [chosen.number for chosen in choice.faces] == [1 if swap else 0]
    assert choice.score > 0.3


def test_scores_are_for_the_files_own_clock():
    voice = babble(3)
    one = face(0, moves(voice, TIME), TIME)
    landmarks = np.stack(one.points) * [1.0, -1.0, -1.0] / 40.0
    here = talk_score(landmarks, TIME, sound(voice))
    there = talk_score(landmarks, TIME + 100, sound(voice, start=100.0))
    assert here > 0.5
    assert there == pytest.approx(here)
    assert talk_score(landmarks, TIME + 2.0, sound(voice)) < 0.3


def test_without_a_voice_the_largest_and_most_central_is_taken():
    still = np.random.default_rng(0).normal(size=(len(TIME), 2))
    near, far = face(0, still, TIME, size=60.0), face(1, still, TIME, place=(300, 100), size=30.0)
    middle = face(2, still, TIME, place=(200, 100), size=60.0)
    for silent in (None, sound(np.zeros(0, np.float32)), sound(np.zeros(6 * RATE, np.float32))):
        assert choose(scene_of(far, near), silent).rule == PROMINENT
        assert choose(scene_of(far, near), silent).faces == [near]
        assert choose(scene_of(near, middle), silent).faces == [middle]


def test_a_still_face_does_not_talk():
    voice = babble(5)
    drawn = face(0, moves(voice, TIME), TIME, noise=0.0)
    for points in drawn.points:
        points[:] = drawn.points[0] + 0.005 * (points - drawn.points[0])  # a portrait that trembles with the sound
    talks = face(1, moves(voice, TIME), TIME, place=(300, 100), noise=1.5)
    assert choose(scene_of(drawn, talks), sound(voice)).faces == [talks]


def test_the_sound_is_not_asked_for_where_there_is_no_choice():
    def load():
        raise AssertionError("decoded")

    motion = moves(babble(0), TIME)
    one = face(0, motion[:70], TIME[:70])
    next_one = face(1, motion[80:], TIME[80:], first=80, place=(300, 100))
    glimpse = face(2, motion[:5], TIME[:5], first=20, place=(300, 100))
    choice = choose(scene_of(one, next_one, glimpse), Sound(0.0, load))
    assert choice.rule == ONLY
    assert choice.faces == [one, next_one]
    assert (choice.n_faces, np.isnan(choice.score)) == (1, True)
    assert choose(scene_of(), Sound(0.0, load)).faces == []


def test_each_shot_has_its_own_choice_and_no_frame_two_faces():
    voice = babble(7, 12.0)
    time = np.arange(300) / 25
    shot = np.repeat([0, 1], 150)
    right, wrong = moves(voice, time), moves(babble(8, 12.0), time)
    faces = [
        face(0, right[:150], time[:150]),
        face(1, wrong[:150], time[:150], place=(300, 100)),
        face(2, wrong[150:], time[150:], first=150, shot=1),
        face(3, right[150:], time[150:], first=150, shot=1, place=(300, 100)),
    ]
    choice = choose(scene_of(*faces, time=time, shot=shot), sound(voice))
    assert [chosen.number for chosen in choice.faces] == [0, 3]


def test_sound_that_cannot_be_had_is_no_sound(tmp_path):
    run_ffmpeg("-i", ALONE, "-an", "-c", "copy", tmp_path / "mute.mp4")
    assert len(sound_of(tmp_path / "mute.mp4", start=0.0, end=None).load()) == 0
    assert len(sound_of(ALONE, start=0.6, end=1.0).load()) == round(1.4 * RATE)


def test_the_filter_looks_round_the_moment():
    levels = np.zeros((100, 8))
    levels[50] = 1.0
    tapped = talking.tapped(levels)
    assert np.flatnonzero(tapped.any(axis=(1, 2))).tolist() == [38, 42, 46, 50, 54, 58, 62]


# --- whole rows --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """The talking face twice, the one on the left half a second late, with the sound of the right one."""
    folder = tmp_path_factory.mktemp("beside")
    run_ffmpeg("-ss", "0.7", "-i", ALONE, "-c:a", "aac", folder / "late.mp4")
    put_beside(folder / "late.mp4", ALONE, ALONE, folder / "film.mp4", seconds=2.0)
    return folder / "film.mp4"


def test_a_row_says_how_many_faces_and_why_this_one(film):
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
    faces = [one["landmarks"].reshape(-1, 478, 3)[:, :, :2] for one in (plain, row)]
    assert np.median(np.abs(faces[0][at] - faces[1])) < 0.02
    angles = [one["pose"].reshape(-1, 3) for one in (plain, row)]
    assert np.abs(np.median(angles[0][at] - angles[1], axis=0)).max() < 3


@pytest.mark.slow
def test_blendshapes_are_those_of_the_face_that_counts(shared_data, shown):
    task = shared_data.parent / "models" / "face_landmarker.task"
    blank = [Frame(frame.time, cv2.GaussianBlur(frame.image[:, ::-1], (0, 0), 3)) for frame in shown]
    config = FacesConfig(backend="blendshapes", blendshapes_model=task)
    backend = BACKENDS["blendshapes"](config)
    alone, both = backend(shown), backend(beside(shown, blank))
    assert both.n_faces == 2
    left = both.points[:, :, 0].max() < shown[0].image.shape[1]
    assert left or both.points[:, :, 0].min() > shown[0].image.shape[1]
    assert np.isfinite(both.blendshapes).all()
    if left:
        assert np.abs(both.blendshapes - alone.blendshapes)[10:].mean() < 0.02


# --- films of two clips ------------------------------------------------------------------------------------


def test_everybody_talks_once_a_round_and_never_beside_themselves():
    planned = list(pairs(5, rounds=3))
    assert len(set(planned)) == 15
    assert all(talker != other for talker, other in planned)
    assert sorted(talker for talker, _ in planned) == sorted(list(range(5)) * 3)
    assert len(list(pairs(2, rounds=9))) == 2


def test_two_clips_beside_each_other_have_one_voice_and_one_clock(film):
    info = probe(film)
    assert info.has_audio
    assert info.has_video
    assert info.height == 360
    assert info.duration == pytest.approx(1.75, abs=0.35)


@pytest.mark.slow
def test_the_talker_is_taken_in_real_films(shared_data):
    """Ten speakers on which nothing was chosen; the figures for more clips are in ``pipeline.faces.tracking.choosing``."""
    films = watch_all(shared_data / "grid" / "mixed", CONFIG, seconds=10.0, rounds=1, limit=None)
    table = summarise(films)
    assert table.loc["all", "films"] >= 8
    assert table.loc["all", "talker taken"] >= 0.9
