"""The report: one table, one test, pictures, a page; whatever the numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from trainer import figures, page
from trainer.errors import InputError
from trainer.folder import replace_file, replace_folder, write_json
from trainer.metrics import MEASURES
from trainer.params import ReportParams
from trainer.results import TITLES, metrics_json, paired_line, paired_table, result_table, write_plots

PAIR_NOTE = (
    "Pairs share folds and seeds. They also share training data between folds, so the p values are rather too small; "
    "the spread is over folds x seeds."
)


def report(reports: str | Path, pretrained: str | Path, params: ReportParams) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Write everything under ``reports`` from its finetune tables and the pretrained model folder (if there is one).

    Writes metrics.json, plots/, results.csv, paired.csv, results.md, results.png, confusion.png, training.png and
    index.html; returns the result table, the paired tests and the banner. Raises InputError if there are no runs.
    """
    reports, pretrained = Path(reports), Path(pretrained)
    try:
        runs = pd.read_parquet(reports / "finetune_runs.parquet")
        predictions = pd.read_parquet(reports / "predictions.parquet")
        history = pd.read_csv(reports / "finetune_history.csv")
    except FileNotFoundError as error:
        raise InputError(f"{error.filename or reports} is missing: run `python -m trainer finetune` first") from None
    pretrain = _json(pretrained / "metrics.json")
    has_parent = pretrain is not None and (pretrained / "history.csv").is_file()
    pretrain_history = pd.read_csv(pretrained / "history.csv") if has_parent else None
    table = result_table(runs, predictions)
    banner = _banner(table, pretrained)
    paired = paired_table(runs, alpha=params.alpha)

    replace_file(reports / "metrics.json", lambda path: write_json(path, metrics_json(table, paired, pretrain)))
    replace_folder(reports / "plots", lambda folder: write_plots(folder, predictions, history, pretrain_history))
    replace_file(reports / "results.csv", lambda path: table.to_csv(path, index=False))
    replace_file(reports / "paired.csv", lambda path: paired.to_csv(path, index=False))
    lines = [paired_line(row) for row in _records(paired)]
    markdown = _markdown(table, lines, banner)
    replace_file(reports / "results.md", lambda path: _write(path, markdown))
    replace_file(
        reports / "results.png",
        lambda path: figures.results_figure(path, runs, table, measure=params.measure, note=banner),
    )
    replace_file(reports / "confusion.png", lambda path: figures.confusion_figure(path, predictions, note=banner))
    replace_file(
        reports / "training.png",
        lambda path: figures.training_figure(path, history, pretrain_history, note=banner),
    )
    html = _page(reports, table, lines, pretrain, params, banner)
    replace_file(reports / "index.html", lambda path: _write(path, html))
    return table, paired, banner


def read_report(reports: str | Path, pretrained: str | Path) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Read back what `report` returned when it last ran; raises InputError if it never did."""
    reports = Path(reports)
    try:
        table = pd.read_csv(reports / "results.csv")
        paired = pd.read_csv(reports / "paired.csv")
    except FileNotFoundError:
        raise InputError(f"no finished report in {reports}: run `python -m trainer report` first") from None
    return table, paired, _banner(table, Path(pretrained))


def synthetic_banner(corpora: set[str]) -> str:
    """Word the warning that belongs on every number won on generated data; empty for real corpora.

    >>> synthetic_banner({"synthetic_talk", "synthetic_emotion"})
    'SYNTHETIC: generated demonstration data. These numbers say nothing about real speech.'
    >>> synthetic_banner({"emodb"})
    ''
    """
    generated = sorted(name for name in corpora if name.lower().startswith("synthetic"))
    if not generated:
        return ""
    if len(generated) == len(corpora):
        return "SYNTHETIC: generated demonstration data. These numbers say nothing about real speech."
    return f"SYNTHETIC in part: {', '.join(generated)} is generated demonstration data."


def readable(table: pd.DataFrame) -> list[dict[str, str]]:
    """Format the result table for people: mean ± standard deviation, three digits."""
    rows = []
    for row in _records(table):
        cells = {"corpus": row["corpus"], "mode": row["mode"]}
        for measure in MEASURES:
            cells[TITLES[measure]] = f"{row[f'{measure}_mean']:.3f} ± {row[f'{measure}_std']:.3f}"
        cells["pooled UAR"] = f"{row['pooled_uar']:.3f}"
        cells["chance"] = f"{row['chance']:.3f}"
        cells["runs"] = f"{row['folds']} folds x {row['seeds']} seeds"
        if row["allow_pretrain_speakers"]:
            cells["mode"] += f" (pretraining speakers allowed in test; {row['pretrain_speakers_in_test']} there)"
        rows.append(cells)
    return rows


def _markdown(table: pd.DataFrame, lines: list[str], banner: str) -> str:
    rows = readable(table)
    columns = list(rows[0])
    parts = [f"**{banner}**\n"] if banner else []
    parts.append("| " + " | ".join(columns) + " |")
    parts.append("|" + " --- |" * len(columns))
    parts += ["| " + " | ".join(row[name].replace("|", "\\|") for name in columns) + " |" for row in rows]
    parts += ["", *(f"- {line}" for line in lines), "", PAIR_NOTE if lines else "", ""]
    return "\n".join(parts)


def _page(
    reports: Path,
    table: pd.DataFrame,
    lines: list[str],
    pretrain: dict[str, Any] | None,
    params: ReportParams,
    banner: str,
) -> str:
    parts = [page.heading("Speech emotion recognition, speech only, unheard speakers"), page.table(readable(table))]
    parts += [page.note(line) for line in lines] + ([page.note(PAIR_NOTE)] if lines else [])
    parts += [page.picture(reports / "results.png", "results"), page.picture(reports / "confusion.png", "confusion")]
    rules = table.drop(columns=[name for name in table if str(name).endswith(("_mean", "_std"))])
    parts += [page.heading("Rules behind each row"), page.table(_records(rules))]
    if pretrain is not None:
        side = pretrain["held_out"]
        parts.append(page.heading("Pretraining: what the face taught"))
        parts.append(
            page.note(
                f"Measured on {side['rows']} segments of {side['speakers']} {side['part']} speakers"
                + (", who also chose the epoch." if side["part"] == "dev" else ".")
            )
        )
        parts.append(page.table([_task_row(name, values) for name, values in pretrain["tasks"].items()]))
        if "dense" in pretrain:
            parts.append(page.nested({"correlation with each dense track": pretrain["dense"]}))
        parts.append(page.nested({"encoder output": pretrain["encoder"]}))
    parts.append(page.picture(reports / "training.png", "training curves"))
    for name in params.extra:
        extra = _json(Path(name))
        if extra is not None:
            parts += [page.heading(Path(name).stem.replace("_", " ").capitalize()), page.nested(extra)]
    return page.page("avser: does the face teach the voice?", parts, banner=banner)


def _task_row(name: str, values: dict[str, Any]) -> dict[str, Any]:
    counts = {
        f"{side} labels": ", ".join(f"{label} {count}" for label, count in values[f"{key}_labels"].items())
        for side, key in (("training", "train"), ("held-out", "held_out"))
    }
    measures = {title: values.get(key) for key, title in (*TITLES.items(), ("chance", "chance"))}
    return {"task": name.replace("_", " "), **measures, **counts}


def _banner(table: pd.DataFrame, pretrained: Path) -> str:
    return synthetic_banner(set(table["corpus"]) | set((_json(pretrained / "config.json") or {}).get("corpora", [])))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, or None if the file is not there."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    return value if isinstance(value, dict) else {"values": value}


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
