"""The model card: ``README.md`` of a model folder, for whoever gets it without its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from trainer.data.rows import text
from trainer.final.calibration import Calibration
from trainer.finetuning.finetune import Context
from trainer.finetuning.plan import Run
from trainer.store import write_text

_MEASURES = {"uar": "UAR", "macro_f1": "macro F1", "accuracy": "weighted accuracy", "ccc": "CCC"}


def write_card(
    folder: Path, run: Run, folds: Sequence[Mapping[str, Any]], calibration: Calibration | None, context: Context
) -> None:
    """Write ``README.md``: data, protocol, measures with intervals, calibration, use, limits, licences.

    Args:
        folder: of the model.
        run: the final training.
        folds: rows of ``results.csv`` of the same mode and corpora.
        calibration: None where there is none.
        context: shards and parameters.
    """
    templates = Environment(
        loader=PackageLoader("trainer.final", ""), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    used = np.sort(np.concatenate([run.train, run.dev]))
    rows, speakers = context.shards.rows.iloc[used], context.shards.speakers[used]
    corpora = [
        {"name": name, "utterances": int((rows["corpus"] == name).sum()),
         "speakers": len(set(speakers[(rows["corpus"] == name).to_numpy()])),
         "languages": ", ".join(sorted(set(text(rows[rows["corpus"] == name], "language")) - {""})) or "not stated"}
        for name in sorted(set(rows["corpus"]))
    ]  # fmt: skip
    write_text(
        folder / "README.md",
        templates.get_template("card.md").render(
            run=run,
            corpora=corpora,
            folds=[{**row, "measures": _measures(row)} for row in folds],
            calibration=calibration,
            stopping=len(run.dev),
            options=context.params.finetune,
            feature_names=context.shards.feature_names,
            frame_period=context.shards.frame_period,
        ),
    )


def _measures(row: Mapping[str, Any]) -> list[str]:
    """Say each measure of a row of results: mean and deviation over folds and seeds."""
    return [
        f"{title} {row[f'{name}_mean']:.3f} ± {row[f'{name}_std'] or 0:.3f}"
        for name, title in _MEASURES.items()
        if row.get(f"{name}_mean") is not None
    ]
