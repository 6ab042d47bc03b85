"""What the screen says of the three labels of a segment."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from avser.labelling import lines, run_labels
from pipeline.errors import InputError

FOUND: dict[str, Any] = {
    "segment_id": "film#000", "start": 0.0, "end": 2.5, "status": "ok", "reason": None, "valid_ratio": 0.9,
    "t1_stat": 4.756, "t1_label": "low", "t1_reason": None, "t1_low": 5.93, "t1_high": 5.93, "t1_margin": -1.174,
    "t2_stat": 0.0462, "t2_label": None, "t2_reason": "between the thresholds (dead zone)", "t2_low": 0.04,
    "t2_high": 0.05, "t2_margin": -0.0038,
    "t3_label": "happiness", "t3_confidence": 0.31, "t3_reason": None, "t3_anger": 0.1, "t3_happiness": 0.9,
    "t3_fear": 0.4, "t3_sadness": 0.2, "t3_baseline": "speaker ann",
}  # fmt: skip


def test_each_label_stands_with_its_number_its_threshold_and_why() -> None:
    assert lines(FOUND) == [
        "film#000  0.00-2.50 s, a usable face in 90% of the frames",
        "  T1 energy variation   low        4.76 dB, threshold 5.93, margin -1.2",
        "  T2 facial activation  none       0.0462 eye distances/s, thresholds 0.04 and 0.05, margin -0.0038; between "
        "the thresholds (dead zone)",
        "  T3 emotion            happiness  margin 0.31; scores above the face of speaker ann: happiness 0.90, "
        "fear 0.40, sadness 0.20",
    ]


def test_a_missing_label_says_why() -> None:
    none = {"t2_stat": math.nan, "t2_reason": "no video stream", "t3_confidence": math.nan, "t3_label": math.nan,
            "t3_reason": "no video stream", "t1_low": math.nan, "t1_high": math.nan}  # fmt: skip
    said = lines(FOUND | none)
    assert said[1].endswith("4.76 dB; there is no threshold for it")
    assert said[2] == "  T2 facial activation  none       no video stream"
    assert said[3] == "  T3 emotion            none       no video stream"
    small = {"t3_label": None, "t3_confidence": 0.02, "t3_reason": "margin 0.02 below labels.au_emotion.min_confidence"}
    assert "none       margin 0.02 below labels.au_emotion.min_confidence; scores" in lines(FOUND | small)[3]
    assert lines({"segment_id": "film", "status": "quarantined", "reason": "is empty"}) == [
        "film  cannot be used: is empty"
    ]


def test_a_table_of_another_kind_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
        run_labels(tmp_path, thresholds=tmp_path, corpus=None, speaker=None, output=Path("labels.xlsx"))
