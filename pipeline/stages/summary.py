"""Stage ``summary``: counts of the whole pipeline run, and agreement with a planted truth where the corpus has one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import accuracy_score, cohen_kappa_score, recall_score

from pipeline.contracts import OK
from pipeline.engine.files import write_json
from pipeline.engine.places import table
from pipeline.engine.tables import iter_rows, read_table
from pipeline.labels.report import label_summary, print_summary, reasons
from pipeline.params import Params
from pipeline.stages.pseudo_labels import read_labels
from pipeline.synthetic.recovered import compare_planted_tables

REPORT = Path("reports/pipeline.json")
SETS = ("unlabelled", "labelled")
STAGES = {"unlabelled": ("audio", "acoustics", "faces"), "labelled": ("audio", "acoustics")}
TASKS = {"t1": "energy_class", "t2": "activation_class", "t3": "emotion"}


def run_summary(params: Params) -> None:
    """Write ``reports/pipeline.json``: what went in, what came out, what was quarantined and why."""
    labels = read_labels()
    report: dict[str, Any] = {name: _set_summary(name) for name in SETS}
    report["faces"] = _face_share()
    report["pseudo_labels"] = label_summary(labels)
    truth = params.sets.unlabelled.root / "truth"
    if (truth / "clips.parquet").exists():
        report["planted_truth"] = agreement(labels, pd.read_parquet(truth / "clips.parquet"))
        report["planted_action_units"] = _recovered(truth)
    write_json(REPORT, report)
    print_summary(report)
    print(f"wrote {REPORT}")


def _recovered(truth: Path) -> dict[str, float]:
    """Return action unit -> mean rank correlation over time with what was planted (`pipeline.synthetic.recovered`)."""
    found = compare_planted_tables(table("faces", "unlabelled"), truth, table("segments", "unlabelled"))
    return {str(unit): round(float(rho), 3) for unit, rho in found["rho"].items()}


def _set_summary(name: str) -> dict[str, Any]:
    segments = read_table(table("segments", name))
    ok = segments[segments["status"] == OK]
    bad = {"segments": reasons(segments.loc[segments["status"] != OK, "reason"])}
    for stage in STAGES[name]:
        rows = read_table(table(stage, name), ["segment_id", "status", "reason"])
        bad[stage] = reasons(rows.loc[rows["status"] != OK, "reason"])
    return {
        "corpora": sorted(segments["corpus"].dropna().unique().tolist()),
        "clips_in": int(segments["clip_id"].nunique()),
        "clips_quarantined": int((segments["status"] != OK).sum()),
        "segments": len(ok),
        "speakers": ok.groupby(["corpus", "speaker"]).ngroups,
        "hours": round(float((ok["end"] - ok["start"]).sum()) / 3600, 4),
        "quarantined": {stage: found for stage, found in bad.items() if found},
    }


def _face_share() -> dict[str, Any]:
    frames = found = segments = 0
    for row in iter_rows(table("faces", "unlabelled"), ["status", "valid"]):
        segments += row["status"] == OK
        if row["valid"] is not None:
            frames += len(row["valid"])
            found += int(row["valid"].sum())
    return {
        "segments_with_a_face": segments,
        "frames": frames,
        "share_of_frames_valid": round(found / max(1, frames), 4),
    }


def agreement(labels: pd.DataFrame, truth: pd.DataFrame) -> dict[str, Any]:
    """Compare pseudo-labels with the planted classes of a synthetic corpus, and with chance.

    Args:
        labels: pseudo-label table.
        truth: one row a clip with ``clip_id`` and the columns named in `TASKS`.

    Returns:
        A task: n, accuracy, UAR, Cohen's kappa, and chance (accuracy of the largest class; UAR 1/k).
    """
    joined = labels.merge(truth.drop(columns=["speaker", "corpus"], errors="ignore"), on="clip_id")
    return {
        task: _agreement(rows[f"{task}_label"].tolist(), rows[column].tolist())
        for task, column in TASKS.items()
        if len(rows := joined[joined[f"{task}_label"].notna() & joined[column].notna()])
    }


def _agreement(found: Sequence[str], planted: Sequence[str]) -> dict[str, float]:
    classes = sorted(set(planted))
    counts = pd.Series(planted).value_counts()
    return {
        "n": len(found),
        "accuracy": round(accuracy_score(planted, found), 4),
        "accuracy_of_largest_class": round(float(counts.iloc[0]) / len(found), 4),
        "uar": round(recall_score(planted, found, labels=classes, average="macro", zero_division=0), 4),
        "uar_chance": round(1 / len(classes), 4),
        "kappa": round(cohen_kappa_score(planted, found), 4),
    }
