"""A page of the most and the least confident segments of every label: pictures beside the reason for the label."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from pipeline.checks.evidence import Evidence, SampledFrame
from pipeline.engine.files import replace_file
from pipeline.engine.progress import progress
from pipeline.errors import InputError, Quarantined
from pipeline.labels import thresholds
from pipeline.params import Params
from pipeline.stages.pseudo_labels import FITTED, read_labels

THUMBNAIL, PICTURE = 200, 1000  # px wide
QUALITY = 55  # of WebP
BINARY = {"t1": ("T1 energy variation", "dB"), "t2": ("T2 facial activation", "eye distances/s")}


@dataclass(frozen=True)
class Choice:
    """A segment that stands for a label.

    Attributes:
        segment_id: of the pseudo-labels table.
        task: t1, t2 or t3.
        label: that it got.
        margin: how clearly: of T1 and T2 the distance to the threshold in standard deviations of its corpus, of T3 the
            margin to the second emotion.
        most: among the most confident ones, else among the least.
    """

    segment_id: str
    task: str
    label: str
    margin: float
    most: bool


def choose(labels: pd.DataFrame, fitted: dict[str, Any], scopes: Mapping[str, str], *, per_label: int) -> list[Choice]:
    """Return for each task and label the ``per_label`` segments of the largest and of the smallest margin.

    Args:
        labels: the pseudo-labels table.
        fitted: ``data/thresholds.json``.
        scopes: of the thresholds of t1 and t2.
        per_label: how many of each side; a label with fewer than twice as many is shared out, none is named twice.
    """
    chosen: list[Choice] = []
    for task in ("t1", "t2", "t3"):
        margin = labels["t3_confidence"] if task == "t3" else _distance(labels, task, fitted[task], scopes[task])
        known = labels.assign(margin=margin)[labels[f"{task}_label"].notna() & margin.notna()]
        for label, group in known.groupby(f"{task}_label", sort=True):
            ordered = group.sort_values(["margin", "segment_id"], ascending=[False, True])
            count = min(per_label, -(-len(ordered) // 2))
            most, least = ordered.iloc[:count], ordered.iloc[count:][-per_label:][::-1]
            chosen += [
                Choice(str(row.segment_id), task, str(label), float(row.margin), side is most)  # type: ignore[arg-type]
                for side in (most, least)
                for row in side.itertuples()
            ]
    return chosen


def _distance(labels: pd.DataFrame, task: str, fitted: dict[str, list[float]], scope: str) -> pd.Series:
    """Distance to the threshold that was used, in standard deviations of the statistic in the corpus."""
    values = labels[f"{task}_stat"].astype(float)
    limits = [fitted.get(group or "", [np.nan]) for group in thresholds.used_groups(labels, fitted, scope)]
    gaps = [min(abs(value - limit) for limit in both) for value, both in zip(values, limits, strict=True)]
    spread = values.groupby(labels["corpus"]).transform("std")
    return pd.Series(gaps, index=labels.index) / spread.where(spread > 0, 1.0)


def browse(params: Params, output: Path, *, per_label: int = 4) -> dict[str, float]:
    """Write the page.

    Args:
        params: the parameters that the tables were made with.
        output: HTML file, complete in itself.
        per_label: segments of each label and side.

    Returns:
        ``segments`` on the page, ``failed`` ones without a picture, ``seconds`` in all.

    Raises:
        InputError: the tables are missing, or hold no label.
    """
    if not FITTED.exists():
        raise InputError(f"{FITTED} not found: run the pseudo-labels stage (dvc repro)")
    labels, fitted = read_labels(), json.loads(FITTED.read_text(encoding="utf-8"))
    scopes = {
        "t1": params.labels.energy_variation.threshold.scope,
        "t2": params.labels.facial_activation.threshold.scope,
    }
    chosen = choose(labels, fitted, scopes, per_label=per_label)
    if not chosen:
        raise InputError("no segment has a label; `python -m pipeline inspect CLIP` shows why")
    started = time.monotonic()
    names = sorted({choice.segment_id for choice in chosen})
    details = dict(zip(names, _details(params, names), strict=True))
    page = _page(chosen, details, labels.set_index("segment_id"))
    output.parent.mkdir(parents=True, exist_ok=True)
    replace_file(output, lambda place: place.write_text(page, encoding="utf-8"))
    failed = sum("picture" not in detail for detail in details.values())
    return {"segments": len(names), "failed": failed, "seconds": time.monotonic() - started}


def _details(params: Params, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    workers = min(params.run.workers or os.cpu_count() or 1, len(names))
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        progress("browse", len(names)) as ticker,
    ):
        for detail in pool.map(partial(_detail, params), names):
            ticker.advance()
            yield detail


def _detail(params: Params, name: str) -> dict[str, Any]:
    """Return thumbnail, picture and deciding units of a segment; or why there are none."""
    from pipeline.checks.evidence import gather, sample_frames
    from pipeline.checks.inspect import draw

    try:
        evidence = gather(params, name)
        shown = sample_frames(params, evidence.segment)
        with TemporaryDirectory() as folder:
            picture = Path(folder) / "picture.png"
            draw(evidence, shown, params, picture)
            large = _webp(picture, PICTURE)
    except (InputError, Quarantined, OSError) as error:
        return {"why_not": str(error)}
    return {"picture": large, "thumbnail": _thumbnail(shown), "units": _units(evidence)}


def _thumbnail(shown: Sequence[SampledFrame]) -> str:
    return _webp(shown[len(shown) // 2].image, THUMBNAIL) if shown else ""


def _webp(picture: Path | np.ndarray, width: int) -> str:
    """Return a picture in base64, at most so wide."""
    from PIL import Image

    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else Image.open(picture).convert("RGB")
    image.thumbnail((width, 4 * width))
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def _units(evidence: Evidence) -> str:
    """Name the action units that stand out most, in training standard deviations above the typical face."""
    if "relative" not in evidence.face:
        return ""
    level = pd.Series(np.nanquantile(evidence.face["relative"], 0.75, axis=0), index=evidence.fitted["t3"]["aus"])
    return ", ".join(f"{unit} {value:+.1f}" for unit, value in level.nlargest(4).items())


def _page(chosen: Sequence[Choice], details: dict[str, dict[str, Any]], rows: pd.DataFrame) -> str:
    from jinja2 import Environment, PackageLoader

    by_name = rows.to_dict("index")
    cards = [
        {"id": choice.segment_id, "task": choice.task, "label": choice.label, "most": choice.most,
         "corpus": by_name[choice.segment_id]["corpus"], "speaker": by_name[choice.segment_id]["speaker"],
         "why": _why(choice, by_name[choice.segment_id]), **details[choice.segment_id]}
        for choice in chosen
    ]  # fmt: skip
    templates = Environment(loader=PackageLoader("pipeline.checks", ""), autoescape=True, trim_blocks=True)
    return templates.get_template("browse.html").render(
        cards=cards,
        labels=sorted({(card["task"], card["label"]) for card in cards}),
        corpora=sorted({card["corpus"] for card in cards}),
        pictures={name: detail["picture"] for name, detail in details.items() if "picture" in detail},
    )


def _why(choice: Choice, row: Mapping[Any, Any]) -> str:
    if choice.task == "t3":
        return f"margin to the second emotion {choice.margin:.2f}"
    title, unit = BINARY[choice.task]
    return f"{title} {row[f'{choice.task}_stat']:.3g} {unit}, {choice.margin:.2f} deviations from the threshold"
