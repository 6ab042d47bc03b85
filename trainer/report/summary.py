"""What the pipeline counted (``reports/pipeline.json``), in tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.report import page
from trainer.report.numbers import number

_TASKS = {"t1": "T1 energy variation", "t2": "T2 facial activation", "t3": "T3 emotion"}
_SETS = ("unlabelled", "labelled")
_PAIRS = {"stat": "", "mouth": " of the mouth", "rest": " of the rest of the face"}


def summary_blocks(summary: Mapping[str, Any]) -> list[page.Block]:
    """Lay out clips, what was quarantined, faces, labels and their agreement with a planted truth.

    Args:
        summary: as the stage ``summary`` writes it; a part that is not there is left out.
    """
    blocks = []
    sets = {name: summary[name] for name in _SETS if isinstance(summary.get(name), Mapping)}
    if sets:
        blocks.append(page.table([_set_row(name, one) for name, one in sets.items()], caption="Films and recordings"))
    lost = [
        {"why": why, "clips or segments": count, "set": name, "stage": stage}
        for name, one in sets.items()
        for stage, reasons in one.get("quarantined", {}).items()
        for why, count in reasons.items()
    ]
    if lost:
        blocks.append(page.table(lost, caption="Left out (quarantined)"))
    if faces := summary.get("faces"):
        share = 100 * faces.get("share_of_frames_valid", 0)
        text = f"{share:.1f} % of {faces.get('frames', 0)} frames have a usable face"
        blocks.append(page.paragraph(f"{text}; {faces.get('segments_with_a_face', 0)} segments have one."))
    if labels := summary.get("pseudo_labels"):
        blocks += _label_blocks(labels)
    if planted := summary.get("planted_truth"):
        rows = [
            {
                "task": _TASKS.get(task, task),
                "films": row["n"],
                "UAR": row["uar"],
                "chance": row["uar_chance"],
                "kappa": row["kappa"],
            }
            for task, row in planted.items()
        ]
        blocks.append(page.table(rows, caption="Labels against what was planted in the generated films"))
    if units := summary.get("planted_action_units"):
        text = ", ".join(f"{unit} {number(rho, 2)}" for unit, rho in units.items())
        blocks.append(page.note(f"Planted action units, mean rank correlation over time: {text}."))
    return blocks


def _set_row(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "set": f"{name}: {', '.join(one.get('corpora', []))}",
        "clips": one.get("clips_in"),
        "left out": one.get("clips_quarantined"),
        "segments": one.get("segments"),
        "speakers": one.get("speakers"),
        "hours": number(one.get("hours"), 2),
    }


def _label_blocks(labels: Mapping[str, Any]) -> list[page.Block]:
    parts = labels.get("by_corpus") or {"all corpora": labels}
    rows = []
    for task, name in _TASKS.items():
        for corpus, part in parts.items():
            found = part.get(task, {})
            row = {"label": name if len(parts) == 1 else f"{name}, {corpus}"}
            row["segments with it"] = _counted(found.get("counts", {}))
            row["without it, and why"] = _counted(found.get("missing", {})) or "none"
            rows.append(row)
    blocks = [page.table(rows, caption="Labels that the faces and voices gave")]
    if related := labels.get("spearman"):
        pairs = [
            {"statistics": " and ".join(map(_statistic, pair.split("~"))), "rank correlation": number(rho, 2)}
            for pair, rho in related.items()
        ]
        blocks.append(page.table(pairs, caption="How the statistics behind T1 and T2 go together"))
    return blocks


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _statistic(name: str) -> str:
    """Put the column name of a statistic into words.

    >>> _statistic("t2_mouth"), _statistic("t1_stat")
    ('T2 of the mouth', 'T1')
    """
    task, _, part = name.partition("_")
    return task.upper() + _PAIRS.get(part, f" {part}")
