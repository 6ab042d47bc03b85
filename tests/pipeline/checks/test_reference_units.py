"""Action units of real films against a table in the form of OpenFace's output."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.checks.reference_units import compare_tables, compare_with_reference, summarise
from pipeline.errors import InputError
from pipeline.faces.config import FacesConfig
from pipeline.faces.extractor import FacesExtractor
from tests.pipeline.faces import ALONE


def item(path):
    return {"media_path": str(path), "start": 0.0, "end": None, "segment_id": f"{path.stem}#000", "has_video": True}


@pytest.fixture(scope="module")
def row():
    return FacesExtractor(FacesConfig())(item(ALONE))


def planted_reference(row, clip="a", shift=0.0, noise=0.0):
    """A table of the form of OpenFace's output that says what our own row says, at other times."""
    n = row["n_frames"]
    aus = row["aus"].reshape(n, -1)
    time = np.arange(0, row["time"][-1], 0.02)
    table = pd.DataFrame({"clip": clip, "timestamp": time + shift, "confidence": 0.98, "success": 1})
    rng = np.random.default_rng(0)
    for name, index in (("AU12", 9), ("AU25", 16), ("AU45", 19)):
        wave = np.interp(time, row["time"], aus[:, index])
        wave = (wave - wave.min()) / np.ptp(wave) * 3
        table[f"{name}_r"] = wave + noise * rng.normal(size=len(wave))
    table["AU04_r"] = 0.0  # never active: must not count
    table["pose_Ry"] = np.radians(np.interp(time, row["time"], row["pose"].reshape(n, 3)[:, 1]))
    return table


def test_comparison_finds_agreement_by_time_and_leaves_idle_units_out(row):
    mine = {**row, "segment_id": "a#000"}
    result = compare_with_reference([mine], planted_reference(row))
    assert set(result["au"]) == {"AU12", "AU25", "AU45"}
    assert (result["r"] > 0.95).all()
    assert (result["yaw_r"] > 0.95).all()
    late = compare_with_reference([mine], planted_reference(row, shift=10.0), starts={"a#000": 10.0})
    np.testing.assert_allclose(late["r"], result["r"], atol=1e-6)
    assert (compare_with_reference([mine], planted_reference(row, noise=3))["r"] < 0.8).all()
    table = summarise(result)
    assert table.loc["AU45", "grade"] == "good"
    assert table.loc["mean", "r"] == pytest.approx(result.groupby("au")["r"].mean().mean())
    assert list(table.index) == ["AU12", "AU25", "AU45", "good", "fair", "mean"]
    assert table.loc["good", "r"] == pytest.approx(table.loc[["AU12", "AU45"], "r"].mean())
    assert table.loc["fair", ["clips", "clips_same"]].tolist() == [1, 1]


def test_a_clip_in_which_another_face_is_followed_counts_in_the_first_columns_only(row):
    other = planted_reference(row, clip="b")
    other["pose_Ry"] *= -1
    rows = [{**row, "segment_id": f"{clip}#000"} for clip in "ab"]
    table = summarise(compare_with_reference(rows, pd.concat([planted_reference(row, noise=1), other])))
    assert (table["clips"] == 2).all()
    assert (table["clips_same"] == 1).all()
    assert (table["r_same"] < table["r"]).all()


def test_comparison_joins_segments_of_a_clip_and_reads_tables(row, tmp_path):
    n = row["n_frames"]
    pieces = []
    for number, part in enumerate((slice(0, n // 2), slice(n // 2, n))):
        piece = {name: row[name][part] for name in ("valid",)}
        piece["time"] = row["time"][part] - row["time"][part.start]
        for name, width in (("aus", 20), ("pose", 3)):
            piece[name] = row[name].reshape(n, width)[part].ravel()
        pieces.append({"segment_id": f"a#{number:03}", "status": "ok", **piece})
    starts = {"a#000": 0.0, "a#001": float(row["time"][n // 2])}
    (tmp_path / "faces").mkdir()
    (tmp_path / "segments").mkdir()
    pd.DataFrame(pieces).to_parquet(tmp_path / "faces" / "part-000.parquet")
    pd.DataFrame({"segment_id": starts.keys(), "start": starts.values()}).to_parquet(
        tmp_path / "segments" / "part-000.parquet"
    )
    planted_reference(row).to_parquet(tmp_path / "reference.parquet")
    table = compare_tables(tmp_path / "faces", tmp_path / "reference.parquet", tmp_path / "segments")
    assert table.loc["mean", "r"] > 0.95
    with pytest.raises(InputError, match="no such table"):
        compare_tables(tmp_path / "faces", tmp_path / "nothing.parquet")


def test_comparison_names_what_is_wrong_with_the_reference(row):
    mine = {**row, "segment_id": "a#000"}
    with pytest.raises(InputError, match="timestamp"):
        compare_with_reference([mine], planted_reference(row).drop(columns="timestamp"))
    with pytest.raises(InputError, match="clip"):
        compare_with_reference([mine], planted_reference(row, clip="b"))


@pytest.mark.slow
def test_real_clips_agree_with_an_independent_reference(shared_data):
    """Four of the trial clips; the figures for all of them are in docs/action_units.md."""
    reference = pd.read_parquet(shared_data / "trial_openface.parquet")
    names = ["trial_lie_012", "trial_lie_047", "trial_truth_003", "trial_truth_015"]
    extract = FacesExtractor(FacesConfig())
    rows = [extract(item(shared_data / "trial" / f"{name}.mp4")) for name in names]
    table = summarise(compare_with_reference(rows, reference))
    # Measured: .70, .86, .69.
    assert table.loc["mean", "r"] > 0.62
    assert table.loc["good", "r"] > 0.8
    assert table.loc["fair", "r"] > 0.6
