"""The report: one table, one test, pictures, a page; whatever the numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.errors import InputError
from trainer.evaluation.tables import class_table, paired_table, pool, result_table, with_baselines
from trainer.params import ReportParams
from trainer.report import figures
from trainer.report.answers import answers
from trainer.report.dvc import details_json, metrics_json, write_plots
from trainer.report.findings import Finding, findings
from trainer.report.formatting import PAIR_NOTE, markdown_table, paired_rows, plain, readable, synthetic_banner, title
from trainer.report.sections import SUBSET_NOTE, Results, measure_note, report_page
from trainer.store import changed_files, read_table, replace_file, replace_folder, write_json, write_table, write_text

_MEASURED = ("tasks", "encoder", "held_out")  # in the metrics of a pretrained model


def report(reports: str | Path, pretrained: str | Path, params: ReportParams) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Write everything under ``reports`` from its finetune tables and the pretrained model folder (if there is one).

    Writes metrics.json, details.json, plots/, results.csv, classes.csv, paired.csv, results.md, results.png,
    confusion.png, training.png and index.html.

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

    numbers = metrics_json(table, paired, measure=params.measure)
    details = details_json(table, paired, pretrain)
    replace_file(reports / "metrics.json", lambda path: write_json(path, numbers))
    replace_file(reports / "details.json", lambda path: write_json(path, details))
    replace_folder(reports / "plots", lambda folder: write_plots(folder, predictions, history, pretrain_history))
    write_table(reports / "results.csv", table)
    write_table(reports / "classes.csv", classes)
    write_table(reports / "paired.csv", paired)
    write_text(reports / "results.md", _markdown(table, paired, params, banner))
    config = _json(pretrained / "config.json") or {}
    results = Results(
        runs=runs,
        table=table,
        paired=paired,
        classes=classes,
        answers=list(answers(predictions, pooled)),
        findings=findings(table, paired, params, pretrained_on=config.get("corpora", [])),
        history=history,
        pretrain=pretrain,
        pretrain_history=pretrain_history,
        monitor=(config.get("params") or {}).get("pretrain", {}).get("monitor", ""),
        score=title(next(iter(pooled.values())).objective.score),
        summary=_json(Path(params.summary)) if params.summary else None,
        banner=banner,
    )
    replace_file(
        reports / "results.png",
        lambda path: figures.results_figure(path, runs, table, measure=params.measure, note=banner),
    )
    replace_file(reports / "confusion.png", lambda path: figures.answers_figure(path, results.answers, note=banner))
    replace_file(
        reports / "training.png",
        lambda path: figures.training_figure(path, history, pretrain_history, score=results.score, note=banner),
    )
    write_text(reports / "index.html", report_page(results, params))
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


def read_findings(
    table: pd.DataFrame, paired: pd.DataFrame, pretrained: str | Path, params: ReportParams
) -> list[Finding]:
    """Return the findings of a result table and its tests, as they stand on the page."""
    config = _json(Path(pretrained) / "config.json") or {}
    return findings(table, paired, params, pretrained_on=config.get("corpora", []))


def _markdown(table: pd.DataFrame, paired: pd.DataFrame, params: ReportParams, banner: str) -> str:
    parts = [f"**{plain(banner)}**", ""] if banner else []
    note = f"{measure_note(params)} Weighted accuracy: share of utterances that are right, the recall of the classes "
    parts += [*markdown_table(readable(table, measure=params.measure)), "", f"{note}weighted by their frequency.", ""]
    if not paired.empty:
        parts += [*markdown_table(paired_rows(paired)), "", PAIR_NOTE, "", SUBSET_NOTE, ""]
    return "\n".join(parts)


def _banner(table: pd.DataFrame, pretrained: Path) -> str:
    return synthetic_banner(set(table["corpus"]) | set((_json(pretrained / "config.json") or {}).get("corpora", [])))


def _pretraining(folder: Path) -> dict[str, Any] | None:
    """Read the metrics of a pretrained model, None without one; InputError if its folder is damaged."""
    metrics = _json(folder / "metrics.json")
    changed = changed_files(folder)
    if not changed and (_json(folder / "config.json") or {}).get("kind") == "finetune":
        # A parent that was tuned to another corpus has no pretext tasks.
        return None
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
