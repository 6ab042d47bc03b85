"""Planted action units against readings: time, order and silence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.synthetic.recovered import compare_planted, compare_planted_tables, summarise

TIME = np.arange(60) / 25
PLANTED = np.column_stack([np.sin(4 * TIME) ** 2, np.clip(TIME - 1, 0, 1), 0.1 * np.ones(60)])
TRUTH = [{"clip_id": "a", "time": TIME, "aus": PLANTED.ravel()}]
NAMES = {"au_names": ["AU12", "AU06", "AU04"], "planted_names": ["AU06", "AU12", "AU04"]}


def row(readings: np.ndarray, *, time: np.ndarray = TIME, name: str = "a#000", valid: np.ndarray | None = None) -> dict:
    valid = np.ones(len(time), bool) if valid is None else valid
    return {"segment_id": name, "status": "ok", "time": time, "valid": valid, "aus": readings.ravel()}


def test_rank_correlation_is_of_the_unit_with_that_name_and_idle_units_do_not_count() -> None:
    readings = np.column_stack([np.exp(3 * PLANTED[:, 1]), -PLANTED[:, 0], np.arange(60)])
    found = compare_planted([row(readings)], TRUTH, **NAMES).set_index("au")["rho"]
    assert found.to_dict() == pytest.approx({"AU12": 1.0, "AU06": -1.0})


def test_a_reading_that_never_moves_counts_as_nothing_recovered() -> None:
    found = compare_planted([row(np.zeros((60, 3)))], TRUTH, **NAMES)
    assert found["rho"].tolist() == [0.0, 0.0]


def test_frames_are_matched_by_time_and_invalid_ones_left_out() -> None:
    part = slice(20, 60)
    readings = np.column_stack([PLANTED[:, 1], PLANTED[:, 0], PLANTED[:, 2]])[part].copy()
    valid = np.ones(40, bool)
    valid[:5] = False
    readings[:5] = -99
    later = row(readings, time=TIME[part] - TIME[20], name="a#001", valid=valid)
    found = compare_planted([later], TRUTH, **NAMES, starts={"a#001": TIME[20]})
    assert found["rho"].tolist() == pytest.approx([1.0, 1.0])
    assert set(found["n_frames"]) == {35}
    assert compare_planted([row(readings, time=TIME[part] - TIME[20], name="b#000")], TRUTH, **NAMES).empty


def test_the_table_names_what_is_recovered() -> None:
    table = pd.DataFrame(
        {"clip": ["a", "b", "a"], "au": ["AU12", "AU12", "AU05"], "rho": [0.9, 0.7, -0.3], "n_frames": 50}
    )
    found = summarise(table, {"AU12": 1.0})
    assert found.loc["AU12", ["rho", "clips", "recovered"]].tolist() == [pytest.approx(0.8), 2, "yes"]
    assert found.loc["AU05", ["weight", "recovered"]].tolist() == [0.0, "no"]
    assert found.loc["mean", "rho"] == pytest.approx(0.25)


def test_missing_truth_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="no such table"):
        compare_planted_tables(tmp_path, tmp_path / "truth")
