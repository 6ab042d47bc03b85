"""Dense targets: the right value on the right acoustic frame, and nothing where there is no face."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline import contracts
from pipeline.engine import places
from pipeline.engine.packing import row_table, write_parts
from pipeline.engine.tables import read_metadata
from pipeline.faces.landmarks import GRID, from_steps, to_steps
from pipeline.labels.config import LabelsConfig
from pipeline.labels.tracks import LIPS, DenseConfig, dense_targets, track_names, track_regions
from pipeline.params import Params
from pipeline.stages.shards import run_shards
from tests.pipeline.described import ACOUSTICS, AUDIO, SEGMENTS

PERIOD, SIZE = 0.016, 0.032
ABOUT = {"aus": ["AU01", "AU12", "AU20"], "au_reliability": {"AU01": 0.7, "AU12": 1.0, "AU20": 0.3}}


def still_face(time, *, aus=None, valid=None):
    """A face that rests, with given action units (n_frames, 3)."""
    n = len(time)
    points = np.random.default_rng(0).uniform(-1.5, 1.5, size=(1, 478, 3)).repeat(n, 0)
    return {
        "time": time,
        "valid": np.ones(n, bool) if valid is None else valid,
        "shot": np.zeros(n, np.int32),
        "landmark_steps": to_steps(points),
        "aus": (np.zeros((n, 3)) if aus is None else aus).astype(np.float32).ravel(),
    }


def targets(face, *, n_frames=180, rms=None, **options):
    config = DenseConfig(**options)
    names = track_names(config, ABOUT)
    at = np.arange(n_frames) * PERIOD + SIZE / 2
    rms = np.zeros(n_frames, np.float32) if rms is None else rms
    values, _ = dense_targets(names, config, at=at, rms_db=rms, rms_at=at, face=face, aus=ABOUT["aus"])
    order = [name for members in names.values() for name in members]
    return at, {name: values[:, order.index(name)] for name in order}


@given(fps=st.sampled_from([10.0, 12.5, 25.0, 29.97, 60.0]), share=st.floats(0.2, 0.8), late=st.floats(0.0, 0.3))
def test_a_step_in_an_action_unit_lands_on_its_acoustic_frame(fps, share, late):
    time = np.arange(0.0, 2.6, 1 / fps) + late  # a film may begin later than the sound
    step = int(share * len(time))
    aus = np.zeros((len(time), 3))
    aus[step:, 1] = 1.0
    at, track = targets(still_face(time, aus=aus))
    crossed = np.flatnonzero(track["AU12"] >= 0.5)[0]
    truth = (time[step - 1] + time[step]) / 2  # the step happened between these two pictures
    assert abs(at[crossed] - truth) <= PERIOD
    assert np.nanmax(track["AU01"]) == 0


def test_tracks_follow_groups_and_trust():
    assert track_names(DenseConfig(), ABOUT)["aus"] == ["AU01", "AU12"]
    assert track_names(DenseConfig(min_trust=0.2, groups=["aus"]), ABOUT) == {"aus": ABOUT["aus"]}
    assert list(track_names(DenseConfig(), None)) == ["energy"]
    with pytest.raises(ValidationError, match="without repeats"):
        DenseConfig(groups=["aus", "aus"])


def test_no_face_no_target_but_energy():
    time = np.arange(70) / 25
    valid = np.ones(70, bool)
    valid[25:40] = False  # 1.0 to 1.6 s
    rms = np.linspace(-60, -20, 180).astype(np.float32)
    at, track = targets(still_face(time, valid=valid), rms=rms)
    gap = (at > time[24] + 0.021) & (at < time[40] - 0.021)
    after = at > time[-1] + 0.021
    for name in ("AU12", "motion_lower"):
        missing = np.isnan(track[name])
        assert missing[gap | after].all()
        assert not missing[(at < time[24]) | ((at > time[40]) & (at < time[-1]))].any()
    np.testing.assert_allclose(track["energy"], rms, rtol=2**-9)
    _, none = targets(None, rms=rms)
    assert np.isnan(none["AU12"]).all()
    assert np.isfinite(none["energy"]).all()


@pytest.mark.parametrize("region", list(track_regions()))
def test_motion_is_speed_of_its_region_while_it_moves(region):
    time = np.arange(75) / 25
    face = still_face(time)
    points = from_steps(face)
    moved = np.clip(time - 1.0, 0.0, 0.5) * 0.8  # at .8 inter-ocular distances a second from 1.0 to 1.5 s
    points[:, track_regions()[region], 0] += moved[:, None].astype(np.float32)
    at, track = targets(face | {"landmark_steps": to_steps(points)}, smooth=0.0)
    moving = (at > 1.04) & (at < 1.46)
    assert track[f"motion_{region}"][moving] == pytest.approx(0.8, abs=25 * GRID)  # all points are rounded alike
    assert np.nanmax(track[f"motion_{region}"][(at < 0.96) | (at > 1.54)]) < 1e-4
    for other in set(track_regions()) - {region}:
        assert np.nanmax(track[f"motion_{other}"]) < 1e-4


def test_a_camera_cut_is_no_movement():
    time = np.arange(75) / 25
    face = still_face(time)
    points = from_steps(face)
    points[40:] += 2.0
    _, track = targets(face | {"landmark_steps": to_steps(points)})
    assert np.nanmax(track["motion_lower"]) < 1e-4


def test_another_face_is_no_movement_and_lends_no_action_unit():
    """Two faces that are nearly alike: only the number of the shot tells where one follows the other."""
    time = np.arange(75) / 25
    aus = np.zeros((75, 3))
    aus[40:, 1] = 1.0
    face = still_face(time, aus=aus)
    points = from_steps(face)
    points[40:] += 0.1  # below max_jump
    seen = face | {"landmark_steps": to_steps(points)}
    at, one = targets(seen)
    assert np.nanmax(one["motion_lower"]) > 0.1  # taken for one face, it moves
    _, two = targets(seen | {"shot": (np.arange(75) >= 40).astype(np.int32)})
    assert np.nanmax(two["motion_lower"]) < 1e-4
    between = np.isfinite(two["AU12"]) & (two["AU12"] > 1e-6) & (two["AU12"] < 1 - 1e-6)
    assert not between.any()
    assert np.isfinite(two["AU12"][at < time[-1]]).all()


@pytest.mark.parametrize(("lag", "spoken"), [(0.0, True), (0.7, False)])
def test_a_face_that_does_not_speak_can_be_left_out(lag, spoken):
    """A mouth that opens with the syllables of its own voice, or .7 s later with those of somebody else."""
    time, at = np.arange(75) / 25, np.arange(180) * PERIOD + SIZE / 2
    syllables = np.convolve(np.random.default_rng(2).normal(size=400), np.hanning(25), mode="same")
    sound = np.interp(at, np.arange(400) * 0.016, syllables)
    face = still_face(time)
    points = from_steps(face)
    points[:, LIPS[0], :2] = 0.0
    points[:, LIPS[1], 0] = 0.0
    points[:, LIPS[1], 1] = -0.1 - 0.01 * np.interp(time + lag, np.arange(400) * 0.016, syllables)
    face["landmark_steps"] = to_steps(points)
    names, config = track_names(DenseConfig(), ABOUT), DenseConfig(min_sync=0.5)
    made = dense_targets(names, config, at=at, rms_db=-30 + sound, rms_at=at, face=face, aus=ABOUT["aus"])
    assert (made.sync > 0.9) == spoken
    assert np.isfinite(made.targets[:150, 1:]).all() == spoken
    assert np.isfinite(made.targets[:, 0]).all()  # the voice is there all the same


def test_regions_share_no_point():
    together = np.concatenate(list(track_regions().values()))
    assert len(set(together)) == len(together)
    assert min(map(len, track_regions().values())) >= 20


def test_shards_carry_the_tracks_of_the_unlabelled_set_alone(tmp_path, monkeypatch):
    """Written as the stages write: 3 segments, one of them without a face."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n, ids = 120, ["a#000", "b#000", "c#000"]
    for name in ("unlabelled", "labelled"):
        base = {"corpus": "t", "speaker": "s", "start": 0.0, "end": 2.0, "status": "ok"}
        rows = [base | {"segment_id": i, "clip_id": i[0]} for i in ids]
        _write("segments", name, rows, contracts.segments([]), SEGMENTS)
        _write("audio", name, [{"segment_id": i, "status": "ok"} for i in ids], contracts.AUDIO, AUDIO)
        sound = [
            {"segment_id": i, "status": "ok", "n_frames": n, "lld": rng.normal(size=2 * n).astype("f4"),
             "rms_db": np.full(n, -30.0 - k, "f4"), "voiced": np.ones(n, bool)}
            for k, i in enumerate(ids)
        ]  # fmt: skip
        about = {"feature_names": ["x", "y"], "frame_period": PERIOD, "frame_size": SIZE, **ACOUSTICS}
        _write("acoustics", name, sound, contracts.ACOUSTICS, about)
    time = np.arange(48) / 25
    aus = np.stack([np.zeros(48), time, np.zeros(48)], axis=1)
    none = {"quality": None, "pose": None, "interocular": None, "status": "ok", "n_frames": 48}
    faces = [still_face(time, aus=aus) | none | {"segment_id": i} for i in ids[:2]]
    faces.append({"segment_id": ids[2], "status": "quarantined", "reason": "no face"})
    _write("faces", "unlabelled", faces, contracts.FACES, ABOUT)
    labels = [{"segment_id": i, "t1_label": "high"} for i in ids]
    loaders = [(r["segment_id"], lambda r=r: row_table(r, contracts.pseudo_labels([])), 10) for r in labels]
    made_with = {"config": LabelsConfig().model_dump(mode="json")}
    write_parts(places.DATA / "pseudo_labels", loaders, schema=contracts.pseudo_labels([]), metadata=made_with)

    chosen = {"manifest": "m.csv", "root": "."}
    params = Params.model_validate({"sets": {"unlabelled": chosen, "labelled": chosen}})
    for name in ("unlabelled", "labelled"):
        run_shards(params, name)
    about = read_metadata(places.table("shards", "unlabelled"))["dense"]
    assert about["names"] == ["energy", "motion_lower", "motion_middle", "motion_upper", "AU01", "AU12"]
    assert set(about["units"]) == set(about["names"])
    table = pd.read_parquet("data/shards/unlabelled").set_index("segment_id")
    dense = {i: table.loc[i, "dense"].reshape(n, 6) for i in ids}
    at = np.arange(n) * PERIOD + SIZE / 2
    shown = at <= time[-1]
    np.testing.assert_allclose(dense["b#000"][shown, 5], at[shown], rtol=2**-9, atol=1e-3)
    assert (dense["b#000"][:, 0] == -31).all()
    assert np.isnan(dense["c#000"][:, 1:]).all()
    rule = {"quantiles": [0.5, 0.5], "scope": "corpus", "min_segments": 8}  # the trainer may fit thresholds anew
    assert read_metadata(places.table("shards", "unlabelled"))["thresholds"] == {"t1_stat": rule, "t2_stat": rule}
    assert {"t1_stat", "t2_stat"} <= set(table)
    assert table["av_sync"].isna().all()  # these mouths do not move
    assert "dense" not in pd.read_parquet("data/shards/labelled").columns

    off = params.model_copy(update={"shards": params.shards.model_copy(update={"dense": DenseConfig(groups=())})})
    run_shards(off, "unlabelled")
    assert "dense" not in pd.read_parquet("data/shards/unlabelled").columns
    assert "dense" not in read_metadata(places.table("shards", "unlabelled"))


def _write(stage, name, rows, schema: pa.Schema, about):
    loaders = [(row["segment_id"], lambda row=row: row_table(row, schema), 1000) for row in rows]
    write_parts(places.table(stage, name), loaders, schema=schema, metadata={"stage": stage, **about})
