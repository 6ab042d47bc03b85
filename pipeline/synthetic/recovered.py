"""Are the planted action units of a synthetic corpus recovered? Rank correlation over time, unit by unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from pipeline.contracts import OK
from pipeline.engine.tables import iter_rows, read_column, read_metadata
from pipeline.errors import InputError

MIN_RANGE = 0.2  # planted intensity a unit must span in a clip to count as moving there; 1 is a strong expression
MIN_FRAMES = 25  # frames with a face that a clip needs
MAX_OFFSET = 0.02  # s between a frame and its planted one: half a frame at 25 Hz
RECOVERED = 0.5  # mean rank correlation from which a unit is called recovered (ours)


def compare_planted(
    faces: Iterable[Mapping[str, Any]],
    truth: Iterable[Mapping[str, Any]],
    *,
    au_names: list[str],
    planted_names: list[str],
    starts: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return Spearman's rho over time for every clip and action unit that moves in it.

    The planted rest of the face moves too, so this is not a laboratory: AU12 is read while the mouth speaks.

    Args:
        faces: rows of the faces table (``segment_id`` "<clip>#000", ``status``, ``time``, ``valid``, ``aus``).
        truth: rows of the truth table ``frames`` (``clip_id``, ``time``, ``aus``: n_frames x n_planted, flat).
        au_names: units of the faces table, in the order of its columns.
        planted_names: units of the truth table.
        starts: s, where each segment starts in its clip; default 0.

    Returns:
        ``clip``, ``au``, ``rho``, ``n_frames``; one row a segment and moving unit. A reading that never changes
        counts as rho 0.
    """
    planted = {str(row["clip_id"]): row for row in truth}
    starts = starts or {}
    rows = []
    for row in faces:
        clip = str(row["segment_id"]).rsplit("#", 1)[0]
        if row["status"] != OK or clip not in planted:
            continue
        time = np.asarray(row["time"], np.float64) + starts.get(row["segment_id"], 0.0)
        planted_time = np.asarray(planted[clip]["time"], np.float64)
        nearest = np.abs(time[:, None] - planted_time).argmin(axis=1)
        usable = np.asarray(row["valid"], bool) & (np.abs(time - planted_time[nearest]) <= MAX_OFFSET)
        if usable.sum() < MIN_FRAMES:
            continue
        read = np.asarray(row["aus"]).reshape(len(time), -1)[usable]
        true = np.asarray(planted[clip]["aus"]).reshape(len(planted_time), -1)[nearest[usable]]
        for unit in au_names:
            if unit in planted_names and np.ptp(true[:, planted_names.index(unit)]) >= MIN_RANGE:
                a, b = true[:, planted_names.index(unit)], read[:, au_names.index(unit)]
                rho = spearmanr(a, b).statistic if np.ptp(b) > 0 else 0.0
                rows.append((clip, unit, float(rho), int(usable.sum())))
    return pd.DataFrame(rows, columns=["clip", "au", "rho", "n_frames"])


def summarise(comparison: pd.DataFrame, reliability: Mapping[str, float]) -> pd.DataFrame:
    """Return per action unit how it was recovered: mean and quartiles of rho over clips, and the units' mean.

    Args:
        comparison: what `compare_planted` returns.
        reliability: the weight the backend gives each unit, shown next to it.
    """
    by_unit = comparison.groupby("au")["rho"]
    result = pd.DataFrame(
        {
            "weight": {unit: reliability.get(unit, 0.0) for unit in sorted(comparison["au"].unique())},
            "rho": by_unit.mean(),
            "lower_quartile": by_unit.quantile(0.25),
            "upper_quartile": by_unit.quantile(0.75),
            "clips": by_unit.size(),
        }
    )
    result["recovered"] = np.where(result["rho"] >= RECOVERED, "yes", "no")
    means = result[["rho", "lower_quartile", "upper_quartile"]].mean()
    result.loc["mean"] = [np.nan, *means, comparison["clip"].nunique(), ""]
    return result.astype({"clips": int})


def compare_planted_tables(faces: Path, truth: Path, segments: Path | None = None) -> pd.DataFrame:
    """Return `summarise` of a faces table against the truth of a synthetic corpus; for the command line.

    Args:
        faces: folder of the faces table.
        truth: folder ``truth`` of the corpus (holds ``frames.parquet``).
        segments: folder of the segments table, which says where segments start; without it every one starts at 0.

    Raises:
        InputError: a table is missing, or no clip of the truth is in the faces.
    """
    planted = truth / "frames.parquet"
    for path in filter(None, (faces, planted, segments)):
        if not path.exists():
            raise InputError(f"no such table: {path}; planted truth exists for the synthetic corpus alone")
    about = read_metadata(faces)
    found: list[Any] = pd.read_parquet(planted).to_dict("records")
    comparison = compare_planted(
        iter_rows(faces, ["segment_id", "status", "time", "valid", "aus"]),
        found,
        au_names=about["aus"],
        planted_names=read_metadata(planted)["au_names"],
        starts=read_column(segments, "start") if segments is not None else None,
    )
    if comparison.empty:
        raise InputError(f"no clip of {planted} moves in {faces}: are they of the same corpus?")
    return summarise(comparison, about["au_reliability"])
