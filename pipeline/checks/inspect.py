"""One picture of a segment: frames on top, then the three labels as number against threshold, then the tracks."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from pipeline.checks.evidence import N_FRAMES, Evidence, SampledFrame, gather, sample_frames
from pipeline.contracts import OK
from pipeline.faces.formulas import GRADES
from pipeline.faces.landmarks import from_steps
from pipeline.labels import thresholds
from pipeline.labels.emotion import NEUTRAL
from pipeline.labels.regions import regions
from pipeline.params import Params

HIGH, LOW, GREY = "tab:orange", "tab:blue", "0.55"
IRISES = (468, 473)  # their middles
_GRADE = {unit: grade for grade, units in GRADES.items() for unit in units}


def inspect_segment(params: Params, name: str, output: Path) -> Path:
    """Draw frames with landmarks, energy, facial motion, action units, and the three labels with their reasons.

    Args:
        params: the parameters that the tables were made with.
        name: a segment id, or a clip id (then its first segment).
        output: picture file; its suffix picks the format.

    Raises:
        InputError: no such segment, or it was quarantined (the message says why).
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    evidence = gather(params, name)
    draw(evidence, sample_frames(params, evidence.segment), params, output)
    return output


def draw(evidence: Evidence, shown: list[SampledFrame], params: Params, output: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    units = _units(evidence)
    with_face = evidence.face["status"] == OK
    tall = 4.4 + 0.17 * len(units) if with_face else 1.5
    figure = plt.figure(figsize=(13, 4.9 + tall), layout="constrained")
    # Parts of their own, so that long labels in one do not squeeze the others.
    parts: Any = figure.subfigures(3, 1, height_ratios=[2.6, 2.3, tall])
    top, middle, below = parts
    for number, axis in enumerate(top.subplots(1, N_FRAMES)):
        _frame(axis, shown[number] if shown else None, evidence)
    one, two, three = middle.subplots(1, 3)
    scopes = params.labels.energy_variation.threshold.scope, params.labels.facial_activation.threshold.scope
    region = params.labels.facial_activation.region
    _binary(one, evidence, "t1", "T1 energy variation", "dB", scopes[0])
    name = "T2 facial activation" + ("" if region == "whole" else f" ({region})")
    _binary(two, evidence, "t2", name, "eye distances / s", scopes[1])
    _emotions(three, evidence, params.labels.au_emotion.floor)
    heights = [0.9, 1.0, 0.5, 0.4 + 0.17 * len(units)] if with_face else [1.0]
    axes = np.ravel(below.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    _energy(axes[0], evidence)
    if with_face:
        _motion(axes[1], evidence.face)
        _quality(axes[2], evidence.face, params.faces.min_quality)
        _action_units(below, axes[3], evidence, units)
    for axis in axes:
        axis.tick_params(labelsize=8)
        for frame in shown:
            axis.axvline(frame.time, color="0.6", lw=0.8, ls=":", zorder=0)
    axes[0].set_xlim(0, evidence.segment["end"] - evidence.segment["start"])
    axes[-1].set_xlabel("s   (dotted: the frames above; grey: frames not used)", fontsize=8)
    figure.suptitle(_title(evidence), fontsize=10)
    figure.savefig(output, dpi=100)
    plt.close(figure)


def _title(evidence: Evidence) -> str:
    segment, labels, face = evidence.segment, evidence.labels, evidence.face
    where = f"{segment['segment_id']}   {segment['start']:.2f}-{segment['end']:.2f} s of {segment['path']}"
    who = f"corpus {segment['corpus']}, speaker {segment['speaker']}, split {labels['split']}, "
    who += f"a usable face in {labels['valid_ratio']:.0%} of the frames"
    # Columns that a faces table has when it followed one face among several.
    for column, what in (("n_faces", "faces seen"), ("chosen_by", "speaker chosen by"), ("talk_score", "talk score")):
        value = face.get(column)
        if value is not None and np.size(value):
            who += f", {what}: {value if isinstance(value, str) else f'{np.max(value):g}'}"
    return f"{where}\n{who}"


def _frame(axis: Any, frame: SampledFrame | None, evidence: Evidence) -> None:
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_CONTOURS

    axis.axis("off")
    if frame is None:
        return
    axis.imshow(frame.image)
    face = evidence.face
    usable, grade = False, float("nan")
    if face["status"] == OK:
        nearest = int(np.abs(face["time"] - frame.time).argmin())
        usable, grade = bool(face["valid"][nearest]), float(face["quality"][nearest])
    found = bool(np.isfinite(frame.points).all())
    caption = f"{frame.time:.2f} s, " + (f"quality {grade:.2f}" if found else "no face")
    axis.set_title(caption, fontsize=8, color="black" if usable else "tab:red")
    if not found:
        return
    points = frame.points[:, :2]
    lower = set(regions().mouth.tolist())
    for a, b in FACEMESH_CONTOURS:
        axis.plot(*points[[a, b]].T, lw=0.8, color="cyan" if {a, b} <= lower else "lime")
    axis.scatter(*points[[*IRISES]].T, s=5, c="lime", linewidths=0)
    middle, half = points.mean(axis=0), 0.72 * np.ptp(points, axis=0).max()
    axis.set_xlim(middle[0] - half, middle[0] + half)
    axis.set_ylim(middle[1] + half, middle[1] - half)


def _binary(axis: Any, evidence: Evidence, task: str, name: str, unit: str, scope: str) -> None:
    """Draw the segment's value in the distribution of all that share its threshold."""
    labels, statistic = evidence.labels, f"{task}_stat"
    fitted = evidence.fitted[task]
    (group,) = thresholds.used_groups(pd.DataFrame([labels]), fitted, scope)
    rows = evidence.all_labels
    if group not in (None, thresholds.GLOBAL):
        kind = "corpus" if group in set(rows["corpus"]) else "speaker"
        rows = rows[thresholds.group_of(rows, kind) == group]
    values = rows[statistic].dropna()
    axis.set_yticks([])
    axis.tick_params(labelsize=8)
    axis.set_xlabel(f"{unit}   ({len(values)} segments of {'all' if group == thresholds.GLOBAL else group})",
                    fontsize=8)  # fmt: skip
    if len(values):
        low, high = np.quantile(values, [0.005, 0.995])
        axis.hist(values.clip(low, high), bins=30, color="0.85")
    label, value = labels[f"{task}_label"], labels[statistic]
    limits = sorted(set(fitted.get(group, []) if group else []))
    for limit in limits:
        axis.axvline(limit, color="black", lw=1, ls="--")
    if pd.isna(value):
        _none(axis, name, labels[f"{task}_reason"])
        return
    color = {"high": HIGH, "low": LOW}.get(label, GREY)
    axis.axvline(value, color=color, lw=3)
    sign = {"high": ">", "low": "<="}.get(label, "within")
    verdict = f"{label.upper()}: " if isinstance(label, str) else "none: "
    bounds = " to ".join(f"{limit:.3g}" for limit in limits)
    axis.set_title(f"{name}: {verdict}{value:.3g} {sign} {bounds}", fontsize=9, color=color, fontweight="bold")


def _none(axis: Any, name: str, reason: str) -> None:
    axis.set_title(f"{name}: none", fontsize=9, color="tab:red")
    box = {"color": "white", "alpha": 0.8, "lw": 0}
    axis.text(0.5, 0.5, fill(reason, 44), transform=axis.transAxes, ha="center", va="center", fontsize=9,
              color="tab:red", bbox=box)  # fmt: skip


def _emotions(axis: Any, evidence: Evidence, floor: float) -> None:
    """Draw a bar an emotion, paler the less its units can be trusted, and the floor below which a face is neutral."""
    labels, fitted = evidence.labels, evidence.fitted["t3"]
    names = fitted["emotions"]
    scores = np.array([labels[f"t3_{name}"] for name in names], float)
    axis.tick_params(labelsize=8)
    if np.isnan(scores).all():
        axis.axis("off")
        _none(axis, "T3 emotion", labels["t3_reason"])
        return
    trust = fitted.get("reliability", dict.fromkeys(names, 1.0))
    order = np.argsort(scores)
    for place, index in enumerate(order):
        won = names[index] == labels["t3_label"]
        axis.barh(place, scores[index], color=HIGH if won else GREY, alpha=0.35 + 0.65 * trust[names[index]])
    axis.set_yticks(range(len(names)), [f"{names[i]} ({trust[names[i]]:.2f})" for i in order])
    axis.axvline(floor, color="black", lw=1, ls="--")
    axis.set_xlabel("score (dashed: neutral below; in brackets: trust)", fontsize=8)
    label = labels["t3_label"]
    why = f"margin {labels['t3_confidence']:.2f}" + ("" if isinstance(label, str) else ", too small")
    verdict = label.upper() if isinstance(label, str) else "none"
    color = GREY if label in (None, NEUTRAL) else HIGH
    axis.set_title(f"T3 emotion: {verdict} ({why})", fontsize=9, color=color, fontweight="bold")


def _energy(axis: Any, evidence: Evidence) -> None:
    sound = evidence.sound
    if sound["status"] != OK:
        axis.set_title(f"no acoustics: {sound['reason']}", loc="left", fontsize=9, color="tab:red")
        return
    time = np.arange(sound["n_frames"]) * evidence.frame_period
    axis.plot(time, sound["rms_db"], lw=0.8, color="0.6")
    voiced = sound["voiced"].astype(bool)
    axis.plot(time, np.where(voiced, sound["rms_db"], np.nan), lw=1.6, color="tab:green")
    if voiced.any():
        mean, spread = sound["rms_db"][voiced].mean(), sound["rms_db"][voiced].std()
        axis.axhspan(mean - spread, mean + spread, color="tab:green", alpha=0.12, lw=0)
    axis.set_ylabel("energy, dB\n(green: voiced,\nband: +-1 std)", fontsize=8)


def _motion(axis: Any, face: dict[str, Any]) -> None:
    points = from_steps(face)[:, :, :2]
    time, valid = face["time"], face["valid"].astype(bool)
    step = np.diff(time)
    speed = np.linalg.norm(np.diff(points, axis=0), axis=2) / np.where(step > 0, step, np.nan)[:, None]
    speed[~(valid[1:] & valid[:-1])] = np.nan
    axis.plot(time[1:], speed[:, regions().mouth].mean(axis=1), lw=1.2, color="tab:cyan", label="mouth, chin")
    axis.plot(time[1:], speed[:, regions().rest].mean(axis=1), lw=1.2, color="tab:green", label="rest of the face")
    _shade(axis, time, ~valid)
    axis.set_ylabel("motion, eye\ndistances / s\n(unsmoothed)", fontsize=8)
    axis.legend(fontsize=7, loc="upper right", ncol=2)


def _quality(axis: Any, face: dict[str, Any], needed: float) -> None:
    axis.plot(face["time"], face["quality"], lw=1.2, color="black")
    axis.axhline(needed, color="tab:red", lw=0.8, ls="--")
    _shade(axis, face["time"], ~face["valid"].astype(bool))
    axis.set_ylim(-0.05, 1.05)
    axis.set_ylabel("quality", fontsize=8)


def _shade(axis: Any, time: np.ndarray, where: np.ndarray) -> None:
    if where.any():
        axis.fill_between(time, 0, 1, where=where, transform=axis.get_xaxis_transform(), color="0.85", step="mid", lw=0)


def _units(evidence: Evidence) -> list[tuple[str, str]]:
    """Return (unit, emotions that it indicates) of all units that decide, those of the strongest emotions first."""
    fitted = evidence.fitted["t3"]
    weights = np.array(fitted["weights"]).reshape(len(fitted["emotions"]), -1)
    scores = np.array([evidence.labels[f"t3_{name}"] for name in fitted["emotions"]], float)
    found: dict[str, list[str]] = {}
    for index in np.argsort(-np.nan_to_num(scores)):
        for unit in np.argsort(-weights[index]):
            if weights[index, unit] > 0:
                found.setdefault(fitted["aus"][unit], []).append(fitted["emotions"][index])
    return [(unit, ", ".join(emotions)) for unit, emotions in found.items()]


def _action_units(figure: Any, axis: Any, evidence: Evidence, units: list[tuple[str, str]]) -> None:
    """Draw the deciding units as a map over time: red above the speaker's typical face, blue below."""
    face, names = evidence.face, evidence.fitted["t3"]["aus"]
    rows = face["relative"][:, [names.index(unit) for unit, _ in units]].T
    time = face["time"]
    edges = np.concatenate([time[:1], (time[1:] + time[:-1]) / 2, time[-1:]]) if len(time) > 1 else np.array([0, 1.0])
    axis.set_facecolor("0.85")
    drawn = axis.pcolormesh(edges, np.arange(len(units) + 1), rows, cmap="RdBu_r", vmin=-3, vmax=3)
    axis.set_yticks(np.arange(len(units)) + 0.5, [f"{unit} {_GRADE[unit]}: {why}" for unit, why in units], fontsize=7)
    axis.invert_yaxis()
    bar = figure.colorbar(drawn, ax=axis, pad=0.003, fraction=0.012, aspect=25)
    bar.ax.tick_params(labelsize=7)
    axis.set_title("action units, standard deviations from the speaker's typical face", fontsize=8, loc="left")
