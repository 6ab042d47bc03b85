"""Compare our action units with a reference table, such as OpenFace's output: a check, never a training target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.contracts import OK
from pipeline.engine.tables import read_column, read_table
from pipeline.errors import InputError
from pipeline.faces.formulas import AU_NAMES, GRADES
from pipeline.labels.statistics import pearson

Floats = NDArray[np.floating]

# The same movement under two names: a blink (45) is a short closure of the eyes (43).
_SAME = {"AU45": "AU43"}
MIN_CONFIDENCE = 0.8  # of the reference's frames
MAX_OFFSET = 0.034  # s between a frame and the reference's nearest; one frame at 30 Hz
ACTIVE_LEVEL = 1.0  # reference intensity that counts as active; 1 is FACS level A ("trace")
ACTIVE_SHARE = 0.05  # share of matched frames at that level
MIN_STD = 0.2  # standard deviation of the reference intensity
MIN_FRAMES = 50  # matched frames that a clip needs
SAME_FACE = 0.4  # correlation of the head's turns from which both are taken to follow the same face
_ROW_COLUMNS = ["segment_id", "status", "time", "valid", "aus", "pose"]


def compare_with_reference(
    faces: Iterable[Mapping[str, Any]], reference: pd.DataFrame, *, starts: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Return Pearson's r with a reference for every clip and action unit that is active in the reference.

    Frames are matched by time, not by number. A correlation over time means something only where the unit moves: a
    clip counts for a unit if its reference intensity reaches ``ACTIVE_LEVEL`` in at least ``ACTIVE_SHARE`` of the
    matched frames and varies by at least ``MIN_STD``.

    Args:
        faces: rows of the faces table (``segment_id`` "<clip>#000", ``time``, ``valid``, ``aus``, ``pose``).
        reference: columns ``clip``, ``timestamp`` (s), ``AU01_r`` ... (0-5), and if there ``confidence``, ``success``
            and ``pose_Ry`` (rad). ``clip`` is matched with the clip part of ``segment_id``.
        starts: s, where each segment starts in its clip; default 0.

    Returns:
        One row a clip and unit: ``clip``, ``au``, ``r``, ``n_frames``, and ``yaw_r``, the correlation of the head's
        turns. Where that is low, the two probably follow different faces.

    Raises:
        InputError: the reference lacks a column, or no clip of it is in the faces.
    """
    units = [
        name[:-2] for name in reference.columns if name.endswith("_r") and _SAME.get(name[:-2], name[:-2]) in AU_NAMES
    ]
    if missing := {"clip", "timestamp"} - set(reference.columns) or (set() if units else {"AUxx_r"}):
        raise InputError(f"the reference table lacks column(s) {', '.join(sorted(missing))}")
    tracks = _tracks(faces, starts or {})
    rows = []
    if tracks.keys().isdisjoint(reference["clip"].astype(str)):
        raise InputError("none of the reference's clips is in the faces table: compare its `clip` column with clip ids")
    for clip, table in reference.groupby("clip"):
        if str(clip) not in tracks:
            continue
        time, aus, pose = tracks[str(clip)]
        table = table.sort_values("timestamp")
        nearest, near = _nearest(table["timestamp"].to_numpy(np.float64), time)
        usable = near & _trusted(table)[nearest]
        if usable.sum() < MIN_FRAMES:
            continue
        chosen = table.iloc[nearest[usable]]
        yaw_r = np.nan
        if "pose_Ry" in table:
            yaw_r = pearson(np.radians(pose[usable, 1]), chosen["pose_Ry"].to_numpy(), flat=0.0)
        for unit in units:
            wanted = chosen[f"{unit}_r"].to_numpy(np.float64)
            if (wanted >= ACTIVE_LEVEL).mean() < ACTIVE_SHARE or wanted.std() < MIN_STD:
                continue
            read = aus[usable, AU_NAMES.index(_SAME.get(unit, unit))]
            rows.append((str(clip), unit, pearson(read, wanted, flat=0.0), int(usable.sum()), yaw_r))
    return pd.DataFrame(rows, columns=["clip", "au", "r", "n_frames", "yaw_r"])


def summarise(comparison: pd.DataFrame) -> pd.DataFrame:
    """Return the table people read: per action unit the mean r over active clips, and the means over units.

    Columns: ``grade``; ``r`` and ``clips`` over all clips in which the unit is active; ``r_same`` and ``clips_same``
    over those in which both follow the same face (``SAME_FACE``). Rows: the units, then one a grade and ``mean`` for
    all units, which weigh every unit alike; their clips are those with any of the units.

    Args:
        comparison: what ``compare_with_reference`` returns.
    """
    same = comparison[comparison["yaw_r"] >= SAME_FACE]
    grade = {unit: name for name, units in GRADES.items() for unit in units}
    result = pd.DataFrame(
        {
            "grade": {unit: grade[_SAME.get(unit, unit)] for unit in sorted(comparison["au"].unique())},
            "r": comparison.groupby("au")["r"].mean(),
            "clips": comparison.groupby("au").size(),
            "r_same": same.groupby("au")["r"].mean(),
            "clips_same": same.groupby("au").size(),
        }
    ).fillna({"clips_same": 0})
    result = result.astype({"clips": int, "clips_same": int})
    lines = {}
    for name in (*(name for name in GRADES if name in set(result["grade"])), "mean"):
        units = result.index if name == "mean" else result.index[result["grade"] == name]
        means = result.loc[units, ["r", "r_same"]].mean()
        clips = [table.loc[table["au"].isin(units), "clip"].nunique() for table in (comparison, same)]
        lines[name] = ["", means["r"], clips[0], means["r_same"], clips[1]]
    return pd.concat([result, pd.DataFrame.from_dict(lines, orient="index", columns=list(result.columns))])


def compare_tables(faces: Path, reference: Path, segments: Path | None = None) -> pd.DataFrame:
    """Return ``summarise`` of a faces table (folder) against a reference table (file); for the command line.

    Args:
        faces: folder of the faces table.
        reference: Parquet or CSV file of the form of OpenFace's output with a column ``clip``.
        segments: folder of the segments table, which says where segments start; without it every one starts at 0.

    Raises:
        InputError: a path does not exist, or as ``compare_with_reference``.
    """
    for path in filter(None, (faces, reference, segments)):
        if not path.exists():
            raise InputError(f"no such table: {path}")
    rows = read_table(faces, _ROW_COLUMNS)
    table = pd.read_csv(reference) if reference.suffix == ".csv" else pd.read_parquet(reference)
    found: list[Any] = rows[rows["status"] == OK].to_dict("records")
    starts = read_column(segments, "start") if segments is not None else None
    return summarise(compare_with_reference(found, table, starts=starts))


def _tracks(
    faces: Iterable[Mapping[str, Any]], starts: Mapping[str, float]
) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Return clip to (time in the clip, AUs, pose) of its valid frames, segments joined."""
    pieces: dict[str, list[tuple[Floats, Floats, Floats]]] = defaultdict(list)
    for row in faces:
        # A reader that walks folders names a clip "folder/name"; a reference knows the name alone.
        clip = str(row["segment_id"]).rsplit("#", 1)[0].rsplit("/", 1)[-1]
        valid = np.asarray(row["valid"], bool)
        time = np.asarray(row["time"], np.float64) + starts.get(row["segment_id"], 0.0)
        aus = np.asarray(row["aus"], np.float64).reshape(len(valid), -1)
        pose = np.asarray(row["pose"], np.float64).reshape(len(valid), -1)
        pieces[clip].append((time[valid], aus[valid], pose[valid]))
    joined = {}
    for clip, parts in pieces.items():
        time, aus, pose = (np.concatenate(column) for column in zip(*parts, strict=True))
        joined[clip] = (time, aus, pose)
    return joined


def _nearest(reference: Floats, times: Floats) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return, for each of ``times``, the index of the nearest time of the reference, and whether it is near enough."""
    after = np.clip(np.searchsorted(reference, times), 1, max(len(reference) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(reference) - 1)
    nearest = np.where(np.abs(reference[before] - times) <= np.abs(reference[after] - times), before, after)
    return nearest, np.abs(reference[nearest] - times) <= MAX_OFFSET


def _trusted(table: pd.DataFrame) -> NDArray[np.bool_]:
    trusted = np.ones(len(table), bool)
    if "confidence" in table:
        trusted &= table["confidence"].to_numpy() >= MIN_CONFIDENCE
    if "success" in table:
        trusted &= table["success"].to_numpy() == 1
    return trusted
