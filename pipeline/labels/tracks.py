"""Targets frame by frame: energy, movement of three parts of the face, action units, on acoustic frames.

The paper takes one label a segment from each of these. The trainer can also learn from their tracks over time
(``pretrain.dense``). Tracks, regions and alignment are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from pipeline.config import DISTINCT, Config
from pipeline.faces.landmarks import COLUMN as LANDMARKS
from pipeline.faces.landmarks import from_steps
from pipeline.faces.meshmodel import OVAL, mesh_model
from pipeline.faces.timeline import Timeline, smooth, timeline
from pipeline.labels.regions import regions
from pipeline.labels.statistics import pearson
from pipeline.rounding import keep_bits

Floats = NDArray[np.floating]
Group = Literal["energy", "motion", "aus"]

LIPS = (13, 14)  # mesh points: middle of the inner upper and lower lip
_BROWS = 0.15  # inter-ocular distances above the line of the eyes, where brows and forehead begin


@cache
def track_regions() -> dict[str, NDArray[np.intp]]:
    """Mesh points of the lower face (it articulates), the middle (eyes, nose, cheeks) and the upper face (brows)."""
    high = np.flatnonzero(mesh_model().canonical[:, 1] > _BROWS)
    parts = {"lower": regions().mouth, "middle": np.setdiff1d(regions().rest, high), "upper": high}
    return {name: np.setdiff1d(points, OVAL) for name, points in parts.items()}


class DenseConfig(Config):
    """Section ``shards.dense``: tracks on every acoustic frame of the unlabelled set."""

    groups: Annotated[tuple[Group, ...], DISTINCT] = Field(
        ("energy", "motion", "aus"), description="energy, motion, aus; [] for none"
    )
    min_trust: float = Field(
        0.5,
        ge=0,
        le=1,
        description="weight of pipeline.faces.action_units (good 1, fair .7, weak .3) from which a unit is kept",
    )
    smooth: float = Field(0.05, ge=0, description="s, standard deviation of the Gaussian over landmarks before speed")
    max_gap: float = Field(0.2, gt=0, description="s between two valid frames; across longer gaps there is no target")
    max_jump: float = Field(
        0.25, gt=0, description="inter-ocular distances a step; more is a camera cut or a lost face, not a face"
    )
    min_sync: float = Field(
        -1.0, ge=-1, le=1, description="correspondence of level and mouth below which the face says nothing; -1: off"
    )


def track_names(config: DenseConfig, faces: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Return group -> names of its tracks; ``faces`` is what the faces table says of itself (None: no face groups)."""
    names: dict[str, list[str]] = {}
    for group in config.groups:
        if group == "energy":
            names[group] = ["energy"]
        elif faces is not None and group == "motion":
            names[group] = [f"motion_{region}" for region in track_regions()]
        elif faces is not None:
            trust = faces["au_reliability"]
            names[group] = [au for au in faces["aus"] if trust.get(au, 0.0) >= config.min_trust]
    return names


def track_units(names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return track -> unit."""
    unit = {"energy": "dB re full scale", "motion": "inter-ocular distances a second", "aus": "as in the faces table"}
    return {name: unit[group] for group, members in names.items() for name in members}


class Dense(NamedTuple):
    """Targets of a segment, and how well its voice and mouth go together."""

    targets: NDArray[np.float32]  # (n_frames, K)
    sync: float  # `correspondence`, NaN where it is not known


def dense_targets(
    names: Mapping[str, Sequence[str]],
    config: DenseConfig,
    *,
    at: Floats,
    rms_db: Floats,
    rms_at: Floats,
    face: Mapping[str, Any] | None,
    aus: Sequence[str] = (),
) -> Dense:
    """Return (n_frames, K) targets, K tracks in the order of ``names``; NaN where there is no valid face.

    In a segment whose correspondence is below ``config.min_sync`` the face tracks are NaN throughout: another person
    speaks than is seen, or sound and picture do not run together.

    Args:
        names: group -> tracks (`track_names`).
        config: smoothing and gaps.
        at: (n_frames,) s from the segment's start that the middle of each acoustic frame looks at.
        rms_db: (n_descriptor_frames,) level, dB.
        rms_at: (n_descriptor_frames,) s, the middles of those frames.
        face: a row of the faces table, or None where the segment has none.
        aus: units in the order of the faces table's columns.
    """
    columns: list[Floats] = []
    level = np.interp(at, rms_at, rms_db)
    line, points = (None, None) if face is None else face_line(face, config)
    sync = float("nan")
    if line is not None and points is not None:
        mouth = np.linalg.norm(points[:, LIPS[0]] - points[:, LIPS[1]], axis=1)
        sync = correspondence(level, on_frames(mouth, line, at))
        if sync < config.min_sync:
            face = None
    for group, members in names.items():
        if group == "energy":
            columns.append(level)
        elif face is None or line is None or points is None:
            columns += [np.full(len(at), np.nan)] * len(members)
        elif group == "motion":
            moving = smooth(points, line, sigma=config.smooth)
            columns += [_speed(moving[:, region], line, at) for region in track_regions().values()]
        else:
            readings = np.asarray(face["aus"], np.float64).reshape(len(line.time), -1)
            columns += [on_frames(readings[:, list(aus).index(name)], line, at) for name in members]
    return Dense(keep_bits(np.stack(columns, axis=1)), sync)


def correspondence(level: Floats, mouth: Floats) -> float:
    """Return Pearson r between speech level (dB) and mouth opening over the frames that have both; NaN without any.

    A mouth that opens when its voice is loud is the plainest sign that the face and the voice are one person's.

    >>> correspondence(np.array([0.0, 1.0, 2.0, 9.0]), np.array([0.0, 0.5, 1.0, np.nan]))
    1.0
    """
    both = np.isfinite(mouth)
    return round(pearson(level[both], mouth[both]), 6) if both.sum() >= 3 else float("nan")


def face_line(face: Mapping[str, Any], config: DenseConfig) -> tuple[Timeline, Floats]:
    """Return which frames belong together, and the landmarks in the picture plane (depth is the noisiest axis).

    The landmarks are (n_frames, 478, 2), inter-ocular distances, pose-free.
    """
    time = np.asarray(face["time"], np.float64)
    valid = np.asarray(face["valid"], bool)
    points = from_steps(face)[:, :, :2].astype(np.float64)
    shot = np.asarray(face["shot"])
    cut = np.zeros(len(time), bool)
    at = np.flatnonzero(valid)
    if len(at) > 1:
        moved = np.linalg.norm(np.diff(points[at], axis=0), axis=2)
        cut[at[1:]] = (np.median(moved, axis=1) > config.max_jump) | (np.diff(shot[at]) != 0)
    return timeline(time, valid, cut, max_gap=config.max_gap), points


def _speed(points: Floats, line: Timeline, at: Floats) -> Floats:
    """Return the mean speed of ``points`` (n_frames, P, 2) at the times ``at``; a step stands for its middle."""
    result = np.full(len(at), np.nan)
    for run in line.runs:
        if len(run) < 2:
            continue
        step = np.diff(line.time[run])
        speed = np.linalg.norm(np.diff(points[run], axis=0), axis=2).mean(axis=1) / step
        inside = _inside(line.time[run], at)
        result[inside] = np.interp(at[inside], line.time[run][:-1] + step / 2, speed)
    return result


def on_frames(values: Floats, line: Timeline, at: Floats) -> Floats:
    """Return ``values`` (n_frames,) interpolated at the times ``at``, NaN outside the runs of valid frames.

    >>> line = timeline(np.arange(4) * 0.04, np.array([1, 1, 1, 0], bool), np.zeros(4, bool), max_gap=0.2)
    >>> on_frames(np.array([0.0, 1.0, 1.0, 9.0]), line, np.array([0.0, 0.02, 0.05, 0.095, 0.12])).tolist()
    [0.0, 0.5, 1.0, 1.0, nan]
    """
    result = np.full(len(at), np.nan)
    for run in line.runs:
        inside = _inside(line.time[run], at)
        result[inside] = np.interp(at[inside], line.time[run], values[run])
    return result


def _inside(time: Floats, at: Floats) -> NDArray[np.bool_]:
    """Return which of ``at`` a run covers; a picture stands for half a frame period at either side of its time."""
    half = float(np.median(np.diff(time))) / 2 if len(time) > 1 else 0.02
    return (at >= time[0] - half) & (at <= time[-1] + half)


def face_row(row: pa.Table) -> dict[str, Any]:
    """Return a row of the faces table as arrays."""
    return {
        name: row[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        for name in ("time", "valid", "shot", LANDMARKS, "aus")
        if name in row.column_names
    }
