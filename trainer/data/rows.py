"""Columns of shard rows: text, speakers, clips and label indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.errors import InputError

Target = npt.NDArray[Any]  # (N,) int64 class indices, or (N, outputs) float32 with NaN where there is no label
Texts = npt.NDArray[np.object_]  # of str
MISSING = -1  # class index of a label that is not there


def text(rows: pd.DataFrame, column: str) -> Texts:
    """Return a column as text, "" for null; "" everywhere if the column does not exist."""
    if column not in rows:
        return np.full(len(rows), "", dtype=object)
    values = rows[column].astype(object)
    return np.array(["" if pd.isna(value) else str(value).strip() for value in values], dtype=object)


def clip_ids(rows: pd.DataFrame) -> Texts:
    """Return the clip of every row, (N,); where shards do not name clips, each segment is one."""
    return text(rows, "clip_id" if "clip_id" in rows else "segment_id")


def speaker_keys(rows: pd.DataFrame, *, unknown_is_own: bool = False) -> Texts:
    """Return ``corpus/speaker`` of every row, (N,), so that equal names in two corpora stay two people.

    A clip without a speaker raises InputError, or counts as a speaker of its own if ``unknown_is_own``.
    """
    speakers = text(rows, "speaker")
    unknown = speakers == ""
    if unknown.any() and not unknown_is_own:
        segment = text(rows, "segment_id")[unknown][0]
        raise InputError(f"segment {segment!r} has no speaker: speaker-independent testing needs one")
    return text(rows, "corpus") + "/" + np.where(unknown, "clip " + clip_ids(rows), speakers)


def class_indices(labels: Sequence[object], classes: Sequence[str]) -> IntArray:
    """Labels as indices into ``classes``, `MISSING` for null and for labels that are not among them.

    >>> class_indices(["low", None, "high"], ["high", "low"]).tolist()
    [1, -1, 0]
    """
    table = {name: number for number, name in enumerate(classes)}
    return np.array([table.get(label, MISSING) for label in labels], dtype=np.int64)  # type: ignore[call-overload]


def label_names(labels: Sequence[object]) -> list[str]:
    """Return the sorted distinct labels that are there.

    >>> label_names(["low", None, "high", "low", float("nan")])
    ['high', 'low']
    """
    return sorted({label for label in labels if isinstance(label, str) and label})
