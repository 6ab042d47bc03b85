"""Action units: planted movements are read back, the tables are complete, the cost is small."""

from __future__ import annotations

import time as clock

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.stats import spearmanr

from pipeline.faces import action_units as aus
from pipeline.faces import formulas
from pipeline.faces.align import align
from pipeline.faces.meshmodel import mesh_model
from pipeline.faces.texture import EYE_DISTANCE, EYE_HEIGHT, REGIONS, SIZE, face_picture, read_texture
from pipeline.faces.timeline import timeline

N = 240
TIME = np.arange(N) / 30
LINE = timeline(TIME, np.ones(N, bool), np.zeros(N, bool), max_gap=0.2)
# Units whose formula has geometry (the others are read from grey levels alone) and whose column in the model moves
# what its name says; the model's AU25 is nearly empty.
PLANTED = sorted(set(formulas.AU_NAMES) - {"AU11", "AU23", "AU25"})


def planted(active, seed=0):
    """Intensities (N, 20) over time: smooth, 0 to about 1.5, for the named units."""
    rng = np.random.default_rng(seed)
    result = np.zeros((N, len(formulas.AU_NAMES)))
    for name in active:
        wave = gaussian_filter1d(rng.normal(size=N), 8)
        result[:, formulas.AU_NAMES.index(name)] = np.clip(wave / wave.std() * 0.4, 0, 1.5)
    return result


def filmed(intensities, yaw=0.0):
    """Picture points of py-feat's model face with these intensities, turned by yaw degrees."""
    model = mesh_model()
    face = model.neutral + np.einsum("tk,kpd->tpd", intensities, model.au_basis)
    y = np.radians(-yaw)
    face = face @ np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]).T
    return (face * [60, -60, -60] + [200, 150, 0]).astype(np.float32)


def test_names_are_the_models_and_tables_are_complete():
    assert mesh_model().au_names == formulas.AU_NAMES
    assert set(formulas.FORMULAS) == set(formulas.AU_NAMES) == set(formulas.RELIABILITY)
    assert {cue for formula in formulas.FORMULAS.values() for cue in formula} <= set(formulas.CUES)
    assert set(REGIONS) <= set(formulas.CUES)
    assert all(0 <= weight <= 1 for weight in formulas.RELIABILITY.values())
    assert all(cue.scale > 0 for cue in formulas.CUES.values())


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_unit_is_read_back_while_the_head_is_turned(name):
    truth = planted([name])
    landmarks = align(filmed(truth, yaw=20)).landmarks
    index = formulas.AU_NAMES.index(name)
    assert spearmanr(truth[:, index], aus.inverse_aus(landmarks)[:, index])[0] > 0.95
    assert spearmanr(truth[:, index], aus.level(landmarks, LINE)[:, index])[0] > 0.85


def test_several_planted_units_are_told_apart():
    names = ["AU01", "AU12", "AU26", "AU43"]
    truth = planted(names, seed=3)
    readings = aus.level(align(filmed(truth)).landmarks, LINE)
    for name in names:
        own = spearmanr(truth[:, formulas.AU_NAMES.index(name)], readings[:, formulas.AU_NAMES.index(name)])[0]
        assert own > 0.6, name


def test_level_is_near_zero_for_a_typical_face_and_rises_above_the_median_where_a_unit_moves():
    readings = aus.level(align(filmed(planted([]))).landmarks, LINE)
    reliable = [index for index, name in enumerate(formulas.AU_NAMES) if formulas.RELIABILITY[name] >= 0.7]
    assert np.abs(readings[:, reliable]).max() < 1.5
    moved = aus.level(align(filmed(planted(["AU12"]))).landmarks, LINE)[:, formulas.AU_NAMES.index("AU12")]
    assert moved.max() - np.nanmedian(moved) > 0.2


def test_frames_outside_the_runs_are_nan_and_do_not_matter():
    truth = planted(["AU12", "AU43"])
    points = filmed(truth)
    usable = np.ones(N, bool)
    usable[50:90] = False
    line = timeline(TIME, usable, np.zeros(N, bool), max_gap=0.2)
    clean = aus.level(align(points).landmarks, line)
    points[50:90] = 1e4 * np.random.default_rng(0).random(points[50:90].shape)
    spoilt = aus.level(align(points).landmarks, line)
    assert np.isnan(clean[50:90]).all()
    np.testing.assert_array_equal(clean, spoilt)


def test_no_usable_frame_gives_nan_everywhere():
    line = timeline(TIME, np.zeros(N, bool), np.zeros(N, bool), max_gap=0.2)
    assert np.isnan(aus.level(np.full((N, 478, 3), np.nan), line)).all()


def test_a_blink_stays_a_blink_after_smoothing():
    truth = planted([])
    truth[100:105, formulas.AU_NAMES.index("AU43")] = 1.0  # 170 ms
    landmarks = align(filmed(truth)).landmarks
    index = formulas.AU_NAMES.index("AU43")
    raw, calm = (aus.level(landmarks, LINE, sigma=sigma)[:, index] for sigma in (0.0, 0.04))
    assert np.ptp(calm) > 0.75 * np.ptp(raw)
    # The eye's rest opening, which AU06 uses, does not see it.
    slow = aus.read_cues(landmarks, None, LINE)["eye_opening_slow"]
    assert np.ptp(slow) < 0.05


def test_action_units_cost_little_beside_facemesh():
    points = np.concatenate([filmed(planted(["AU12"]))] * 5)
    line = timeline(np.arange(len(points)) / 30, np.ones(len(points), bool), np.zeros(len(points), bool), max_gap=0.2)
    texture = np.zeros((len(points), len(REGIONS)), np.float32)
    aus.level(align(points).landmarks, line, texture=texture)
    start = clock.process_time()
    aus.level(align(points).landmarks, line, texture=texture)
    # FaceMesh takes 3.5 ms a frame on one core; a tenth of it, with room for a slower machine.
    assert (clock.process_time() - start) / len(points) < 0.7e-3


def test_the_small_picture_has_the_eyes_where_regions_expect_them():
    points = filmed(planted([]))[0]
    eyes = points[[33, 263], :2]
    image = np.full((360, 480, 3), 200, np.uint8)
    for x, y in eyes:
        image[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = 0
    small = face_picture(image, points)
    assert small.shape == (SIZE, SIZE)
    rows, columns = np.nonzero(small < 100)
    for side, x in (
        (columns < SIZE / 2, SIZE / 2 - EYE_DISTANCE / 2),
        (columns > SIZE / 2, SIZE / 2 + EYE_DISTANCE / 2),
    ):
        assert abs(rows[side].mean() - EYE_HEIGHT) < 1.5
        assert abs(columns[side].mean() - x) < 1.5


@pytest.mark.parametrize("scale", [1, 5])
def test_texture_does_not_depend_on_light_contrast_or_size(scale):
    from scipy.ndimage import gaussian_filter, zoom

    rng = np.random.default_rng(0)
    base = gaussian_filter(rng.normal(size=(140, 140)), 2)
    base = 100 + 60 * base / np.abs(base).max()
    points = np.zeros((478, 3), np.float32)
    points[33], points[263] = (46, 50, 0), (94, 50, 0)

    def read(picture, factor):
        image = np.repeat(np.clip(zoom(picture, factor, order=1), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        return read_texture(face_picture(image, points * factor))

    plain = read(base, 1)
    np.testing.assert_allclose(read(base * 0.7 + 40, scale), plain, atol=0.25)
    assert plain.std() > 0.3


def test_texture_of_a_face_at_the_border_is_finite():
    image = np.random.default_rng(0).integers(0, 255, (100, 120, 3), dtype=np.uint8)
    for at in ((-300, -300), (0, 0), (110, 90), (5000, 10)):
        points = np.zeros((478, 3), np.float32)
        points[33], points[263] = (at[0], at[1], 0), (at[0] + 40, at[1] + 5, 0)
        assert np.isfinite(read_texture(face_picture(image, points))).all()
