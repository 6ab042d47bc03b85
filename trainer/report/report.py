"""The report: one table, one test, pictures, a page; whatever the numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.errors import InputError
from trainer.evaluation.tables import class_table, paired_table, pool, result_table, with_baselines
from trainer.objectives.metrics import MEASURES
from trainer.params import ReportParams
from trainer.report import figures, page
from trainer.report.dvc import metrics_json, write_plots
from trainer.report.formatting import (
    PAIR_NOTE,
    markdown_table,
    paired_rows,
    plain,
    readable,
    records,
    synthetic_banner,
    title,
)
from trainer.store import changed_files, read_table, replace_file, replace_folder, write_json, write_table, write_text

_MEASURED = ("tasks", "encoder", "held_out")  # in the metrics of a pretrained model
SUBSET_NOTE = (
    "Random subsets are the test that papers of the field print: both systems' scores on random parts of the pooled "
    "test set, paired t-test. It is optimistic, as the parts share models and speakers: training again, or other "
    "speakers, may turn it around. Intervals are percentiles over resampled speakers, with the models as they are."
)


def report(reports: str | Path, pretrained: str | Path, params: ReportParams) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Write everything under ``reports`` from its finetune tables and the pretrained model folder (if there is one).

    Writes metrics.json, plots/, results.csv, classes.csv, paired.csv, results.md, results.png, confusion.png,
    training.png and index.html.

    Returns:
        The result table, the paired tests and the banner.

    Raises:
        InputError: there are no runs.
    """
    reports, pretrained = Path(reports), Path(pretrained)
    try:
        runs = read_table(reports / "finetune_runs.parquet")
        predictions = read_table(reports / "predictions.parquet")
        history = read_table(reports / "finetune_history.csv")
    except FileNotFoundError as error:
        raise InputError(f"{error.filename or reports} is missing: run `python -m trainer finetune` first") from None
    if "objective" not in runs:
        raise InputError(
            f"{reports}: finetune_runs.parquet is of an older version: run `python -m trainer finetune` again"
        )
    runs, predictions = with_baselines(reports, runs, predictions)
    pretrain = _pretraining(pretrained)
    has_parent = pretrain is not None and (pretrained / "history.csv").is_file()
    pretrain_history = pd.read_csv(pretrained / "history.csv") if has_parent else None
    pooled = pool(runs, predictions, params=params)
    table = result_table(runs, pooled, params=params)
    classes = class_table(pooled)
    paired = paired_table(runs, pooled, params=params)
    banner = _banner(table, pretrained)

    replace_file(reports / "metrics.json", lambda path: write_json(path, metrics_json(table, paired, pretrain)))
    replace_folder(reports / "plots", lambda folder: write_plots(folder, predictions, history, pretrain_history))
    write_table(reports / "results.csv", table)
    write_table(reports / "classes.csv", classes)
    write_table(reports / "paired.csv", paired)
    score = title(next(iter(pooled.values())).objective.score)
    tables = {
        "results": readable(table, measure=params.measure),
        "paired": paired_rows(paired),
        "classes": records(classes),
    }
    write_text(reports / "results.md", _markdown(tables, params, banner))
    replace_file(
        reports / "results.png",
        lambda path: figures.results_figure(path, runs, table, measure=params.measure, note=banner),
    )
    replace_file(reports / "confusion.png", lambda path: figures.answers_figure(path, predictions, pooled, note=banner))
    replace_file(
        reports / "training.png",
        lambda path: figures.training_figure(path, history, pretrain_history, score=score, note=banner),
    )
    monitor = ((_json(pretrained / "config.json") or {}).get("params") or {}).get("pretrain", {}).get("monitor", "")
    write_text(reports / "index.html", _page(reports, tables, pretrain, params, banner, monitor=monitor))
    return table, paired, banner


def read_report(reports: str | Path, pretrained: str | Path) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Read back what `report` returned when it last ran; raises InputError if it never did."""
    reports = Path(reports)
    try:
        table = read_table(reports / "results.csv")
        paired = read_table(reports / "paired.csv")
    except FileNotFoundError:
        raise InputError(f"no finished report in {reports}: run `python -m trainer report` first") from None
    return table, paired, _banner(table, Path(pretrained))


def _measure_note(params: ReportParams) -> str:
    return (
        "Mean ± standard deviation over folds x seeds. Pooled: all folds' test utterances together, mean over seeds; "
        f"{100 * params.confidence:g} % percentile interval of {params.resamples} bootstrap samples of whole speakers "
        f"(seed {params.seed}). Weighted accuracy: share of utterances that are right, the recall of the classes "
        "weighted by their frequency."
    )


def _markdown(tables: dict[str, list[dict[str, Any]]], params: ReportParams, banner: str) -> str:
    parts = [f"**{plain(banner)}**", ""] if banner else []
    parts += [*markdown_table(tables["results"]), "", _measure_note(params), ""]
    if tables["paired"]:
        parts += [*markdown_table(tables["paired"]), "", PAIR_NOTE, "", SUBSET_NOTE, ""]
    return "\n".join(parts)


def _page(
    reports: Path,
    tables: dict[str, list[dict[str, Any]]],
    pretrain: dict[str, Any] | None,
    params: ReportParams,
    banner: str,
    *,
    monitor: str,
) -> str:
    parts = [page.heading("Speech emotion recognition, speech only, unheard speakers"), page.table(tables["results"])]
    parts.append(page.note(_measure_note(params)))
    if tables["paired"]:
        parts += [
            page.heading("Is it luck?"),
            page.table(tables["paired"]),
            page.note(PAIR_NOTE),
            page.note(SUBSET_NOTE),
        ]
    parts += [page.picture(reports / "results.png", "results"), page.picture(reports / "confusion.png", "answers")]
    if tables["classes"]:
        parts += [page.heading("Each class, all folds together"), page.table(tables["classes"])]
    if pretrain is not None:
        side = pretrain["held_out"]
        parts.append(page.heading("Pretraining: what the face taught"))
        parts.append(
            page.note(
                f"Measured on {side['rows']} segments of {side['speakers']} {side['part']} speakers"
                + (f", who were trained on: other {side['unit']}" if "unit" in side else "")
                + (", who also chose the epoch." if side["part"] == "dev" and monitor != "last" else ".")
            )
        )
        if pretrain["tasks"]:
            parts.append(page.table([_task_row(name, values) for name, values in pretrain["tasks"].items()]))
        if "dense" in pretrain:
            parts += page.nested({"correlation with each dense track": pretrain["dense"]})
        parts += page.nested({"encoder output": pretrain["encoder"]})
    parts.append(page.picture(reports / "training.png", "training curves"))
    for name in params.extra:
        extra = _json(Path(name))
        if extra is not None:
            parts += [page.heading(Path(name).stem.replace("_", " ").capitalize()), *page.nested(extra)]
    return page.page("avser: does the face teach the voice?", parts, banner=banner)


def _task_row(name: str, values: dict[str, Any]) -> dict[str, Any]:
    counts = {
        f"{side} labels": ", ".join(f"{label} {count}" for label, count in values[f"{key}_labels"].items())
        for side, key in (("training", "train"), ("held-out", "held_out"))
    }
    measures = {title(key): values.get(key) for key in (*MEASURES, "chance")}
    return {"task": name.replace("_", " "), **measures, **counts}


def _banner(table: pd.DataFrame, pretrained: Path) -> str:
    return synthetic_banner(set(table["corpus"]) | set((_json(pretrained / "config.json") or {}).get("corpora", [])))


def _pretraining(folder: Path) -> dict[str, Any] | None:
    """Read the metrics of a pretrained model, None without one; InputError if its folder is damaged."""
    metrics = _json(folder / "metrics.json")
    changed = changed_files(folder)
    if changed or (metrics is not None and not all(isinstance(metrics.get(key), dict) for key in _MEASURED)):
        what = ", ".join(changed) or "metrics.json"
        raise InputError(f"{folder} is a damaged model folder ({what}): run `python -m trainer pretrain` again")
    return metrics


def _json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, or None if the file is not there."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    return value if isinstance(value, dict) else {"values": value}
