"""One picture a segment: what was seen and heard, and why it got its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from pipeline.errors import InputError
from pipeline.params import Params
from pipeline.pseudo_labels import NAME, read_labels
from pipeline.stages import table
from pipeline.store import read_metadata

N_FRAMES = 6
N_AUS = 8  # the units that move most in the segment


def inspect_segment(params: Params, name: str, output: Path) -> Path:
    """Draw frames with landmarks, energy, facial motion, action units, and the three labels with their reasons.

    Args:
        params: the parameters that the tables were made with.
        name: a segment id, or a clip id (then its first segment).
        output: picture file; its suffix picks the format.

    Raises:
        InputError: no such segment, or it was quarantined (the message says why).

    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    segment = _find(name)
    segment_id = segment["segment_id"]
    face, sound = _row("faces", segment_id), _row("acoustics", segment_id)
    labels = read_labels().set_index("segment_id").loc[segment_id]
    figure = plt.figure(figsize=(12, 9), layout="constrained")
    grid = figure.add_gridspec(4, N_FRAMES, height_ratios=[2.2, 1, 1, 1.4])
    _draw_frames([figure.add_subplot(grid[0, i]) for i in range(N_FRAMES)], params, segment)
    energy = figure.add_subplot(grid[1, :])
    _draw_energy(energy, sound)
    motion = figure.add_subplot(grid[2, :], sharex=energy)
    units = figure.add_subplot(grid[3, :], sharex=energy)
    if face["status"] == "ok":
        _draw_motion(motion, face)
        _draw_units(units, face)
    else:
        motion.set_title(f"no face: {face['reason']}", loc="left", fontsize=9)
    units.set_xlabel("s")
    where = f"{segment['corpus']}   {segment_id}   {segment['start']:.2f}-{segment['end']:.2f} s"
    figure.suptitle(f"{where}\n{_explain(labels)}", fontsize=10)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    plt.close(figure)
    return output


def _find(name: str) -> dict[str, Any]:
    rows = pd.read_parquet(table("segments", NAME)).sort_values("segment_id")
    found = rows[(rows["segment_id"] == name) | (rows["clip_id"] == name)]
    if found.empty:
        raise InputError(f"no segment or clip {name!r} in {table('segments', NAME)}")
    row: dict[str, Any] = {str(key): value for key, value in found.iloc[0].items()}
    if row["status"] != "ok":
        raise InputError(f"{name} was quarantined: {row['reason']}")
    return row


def _row(stage: str, segment_id: str) -> dict[str, Any]:
    rows = ds.dataset(table(stage, NAME), format="parquet").to_table(filter=ds.field("segment_id") == segment_id)
    if not rows.num_rows:
        return {"status": "missing", "reason": f"not in the {stage} table: run dvc repro"}
    columns = {name: rows.column(name)[0] for name in rows.column_names}
    return {
        name: value.values.to_numpy(zero_copy_only=False)
        if hasattr(value, "values") and value.is_valid
        else value.as_py()
        for name, value in columns.items()
    }


def _draw_frames(axes: list[Any], params: Params, segment: dict[str, Any]) -> None:
    """Draw frames at even distances, with the points that the configured backend finds on them."""
    from pipeline.faces.extractor import BACKENDS
    from pipeline.faces.talking import sound_of
    from pipeline.media import frames

    for axis in axes:
        axis.axis("off")
    if not segment["has_video"]:
        return
    path = params.sets.unlabelled.root / segment["path"]
    config = params.faces
    seen = list(
        frames(path, start=segment["start"], end=segment["end"], max_fps=config.max_fps, max_height=config.max_height)
    )
    sound = sound_of(path, start=segment["start"], end=segment["end"])
    track = BACKENDS[config.backend](config)(iter(seen), sound)
    chosen = np.linspace(0, len(seen) - 1, len(axes)).round().astype(int)
    for axis, index in zip(axes, chosen, strict=True):
        axis.imshow(seen[index].image)
        points = track.points[index]
        axis.scatter(points[:, 0], points[:, 1], s=0.6, c="lime", linewidths=0)
        axis.set_title(f"{seen[index].time - segment['start']:.2f} s", fontsize=8)
        if np.isfinite(points).all():
            middle, half = points[:, :2].mean(axis=0), 0.75 * np.ptp(points[:, :2], axis=0).max()
            axis.set_xlim(middle[0] - half, middle[0] + half)
            axis.set_ylim(middle[1] + half, middle[1] - half)


def _draw_energy(axis: Any, sound: dict[str, Any]) -> None:
    if sound["status"] != "ok":
        axis.set_title(f"no acoustics: {sound['reason']}", loc="left", fontsize=9)
        return
    time = np.arange(sound["n_frames"]) * read_metadata(table("acoustics", NAME))["frame_period"]
    axis.plot(time, sound["rms_db"], lw=0.8, color="0.6")
    axis.plot(time, np.where(sound["voiced"], sound["rms_db"], np.nan), lw=1.4, color="tab:blue")
    axis.set_ylabel("energy, dB\n(blue: voiced)", fontsize=8)


def _draw_motion(axis: Any, face: dict[str, Any]) -> None:
    from pipeline.labels.regions import MOUTH, REST

    points = face["landmarks"].reshape(face["n_frames"], -1, 3)[:, :, :2]
    step = np.diff(face["time"])
    speed = np.linalg.norm(np.diff(points, axis=0), axis=2) / np.where(step > 0, step, np.nan)[:, None]
    speed[~(face["valid"][1:] & face["valid"][:-1])] = np.nan
    axis.plot(face["time"][1:], speed[:, MOUTH].mean(axis=1), lw=1, label="mouth")
    axis.plot(face["time"][1:], speed[:, REST].mean(axis=1), lw=1, label="rest")
    axis.set_ylabel("motion,\neye distances/s", fontsize=8)
    axis.legend(fontsize=7, loc="upper right")


def _draw_units(axis: Any, face: dict[str, Any]) -> None:
    names = read_metadata(table("faces", NAME))["aus"]
    tracks = face["aus"].reshape(face["n_frames"], -1)
    tracks = np.where(face["valid"][:, None], tracks, np.nan)
    spread = np.nan_to_num(np.nanstd(tracks, axis=0)) if face["valid"].any() else np.zeros(len(names))
    for index in np.sort(np.argsort(-spread)[:N_AUS]):
        axis.plot(face["time"], tracks[:, index], lw=1, label=names[index])
    axis.set_ylabel("action units", fontsize=8)
    axis.legend(fontsize=7, ncol=N_AUS, loc="upper right")


def _explain(labels: pd.Series) -> str:
    """Return the three labels, each with the number it follows from or the reason why it is missing."""
    parts = []
    for task, what in (("t1", "energy variation"), ("t2", "facial activation")):
        value = labels[f"{task}_label"]
        parts.append(
            f"{what}: {labels[f'{task}_reason']}"
            if pd.isna(value)
            else f"{what}: {value} ({labels[f'{task}_stat']:.2f})"
        )
    if pd.isna(labels["t3_label"]):
        parts.append(f"emotion: {labels['t3_reason']}")
    else:
        scores = {name[3:]: labels[name] for name in labels.index if name.startswith("t3_")}
        scores = {name: score for name, score in scores.items() if name not in ("label", "confidence", "reason")}
        best = sorted(scores.items(), key=lambda pair: -pair[1])[:3]
        ranking = ", ".join(f"{name} {score:.2f}" for name, score in best)
        parts.append(f"emotion: {labels['t3_label']} (margin {labels['t3_confidence']:.2f}; {ranking})")
    return "    ".join(parts)
