"""The contents of the page: what was found first, how it was measured last and folded away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trainer.objectives.metrics import MEASURES
from trainer.params import ReportParams
from trainer.report import page
from trainer.report.answers import Answers
from trainer.report.findings import Finding, headline, is_baseline, networks
from trainer.report.formatting import (
    PAIR_CAUTION,
    PAIR_NOTE,
    chosen_measure,
    main_measures,
    paired_rows,
    records,
    rules_line,
    title,
)
from trainer.report.numbers import bounds, mean_spread, number
from trainer.report.panels import Tips, attributes_panel, pretraining_panel, results_panel, training_panel
from trainer.report.summary import summary_blocks
from trainer.report.vector import svg

SUBSET_NOTE = (
    "Random subsets are the test that papers of the field print: both systems' scores on random parts of the pooled "
    "test set, paired t-test. It is optimistic, as the parts share models and speakers: training again, or other "
    "speakers, may turn it around. Intervals are percentiles over resampled speakers, with the models as they are."
)


@dataclass(frozen=True)
class Results:
    """Everything the page shows."""

    runs: pd.DataFrame
    table: pd.DataFrame
    paired: pd.DataFrame
    classes: pd.DataFrame
    answers: list[Answers]
    findings: list[Finding]
    history: pd.DataFrame
    pretrain: dict[str, Any] | None  # metrics of the pretrained model
    pretrain_history: pd.DataFrame | None
    monitor: str  # what chose the epoch of pretraining
    score: str  # what early stopping watches, by its title
    summary: Mapping[str, Any] | None  # of the pipeline
    banner: str


def report_page(results: Results, params: ReportParams) -> str:
    """Compose the page ``index.html``."""
    found = results.findings
    blocks: list[page.Block] = [page.bullets([each.sentence() for each in found])] if len(found) > 1 else []
    corpora = list(dict.fromkeys(results.table["corpus"]))
    for corpus in corpora:
        blocks.append(_result_table(results, str(corpus), params))
    blocks.append(page.note(measure_note(params)))
    blocks.append(page.panels([_result_drawing(results, str(corpus), params) for corpus in corpora]))
    if found:
        luck = [
            page.table([each.cells() for each in found if each.corpus == corpus], caption=str(corpus))
            for corpus in dict.fromkeys(each.corpus for each in found)
        ]
        blocks += [page.heading("Is it luck?"), *luck, page.note(_luck_note(found, params))]
    blocks += [page.heading("What is taken for what"), *_answer_blocks(results.answers)]
    blocks += [page.heading("How it was measured"), *_details(results, params)]
    title_ = "avser: speech emotion recognition, speech only, speakers never heard before"
    return page.page(title_, headline(found, results.table, params), blocks, banner=results.banner)


def measure_note(params: ReportParams) -> str:
    """Say what the numbers of the result table are."""
    return (
        "Mean ± standard deviation over folds x seeds. Pooled: all folds' test utterances together, mean over seeds; "
        f"{100 * params.confidence:g} % percentile interval of {params.resamples} bootstrap samples of whole speakers "
        f"(seed {params.seed})."
    )


def _luck_note(found: Sequence[Finding], params: ReportParams) -> str:
    several = f"corrected for {len(found)} comparisons (Holm)" if len(found) > 1 else "the only comparison"
    interval = f"{100 * params.confidence:g} % interval"
    return (
        f"Trained again: the difference with its {interval} of Student's t over the pairs of equal fold and seed. With "
        "other speakers: the interval of the pooled difference when the test's speakers are drawn again. p: paired "
        f"t-test, {several}. {PAIR_CAUTION}"
    )


def _result_table(results: Results, corpus: str, params: ReportParams) -> page.Block:
    rows = records(results.table[results.table["corpus"] == corpus])
    measures = main_measures(rows[0], params.measure)
    own = measures[0]
    compared = {each.row["mode"]: each.row for each in results.findings if each.corpus == corpus}
    tests = results.paired[(results.paired["corpus"] == corpus) & (results.paired["measure"] == own)]
    difference = {str(row["mode"]): row["mean_difference"] for row in records(tests)}
    lines = []
    for row in rows:
        mode = row["mode"]
        minus = number(difference.get(mode), signed=True)
        if mode in compared:
            minus = f"{minus} {bounds(compared[mode]['pairs_low'], compared[mode]['pairs_high'], signed=True)}".strip()
        pooled = f"{number(row[f'pooled_{own}'])} {bounds(row[f'pooled_{own}_low'], row[f'pooled_{own}_high'])}".strip()
        lines.append(
            {
                "system": f"{mode} (its speakers are in the test)" if _leaks(row) else mode,
                **{title(name): mean_spread(row[f"{name}_mean"], row[f"{name}_std"]) for name in measures},
                f"pooled {title(own)}": pooled,
                "minus scratch": minus or "-",
            }
        )
    row = rows[0]
    small = [f"{row['n_classes']} classes"] if row["n_classes"] else []
    small += [f"{row['folds']} folds x {row['seeds']} seeds", f"{100 * row['label_fraction']:g} % of the labels"]
    small.append(f"chance {number(row['chance'])}")
    if any(map(_leaks, rows)):
        small.append("pretraining speakers allowed in test folds")
    return page.table(lines, caption=corpus, small=", ".join(small))


def _leaks(row: Mapping[str, Any]) -> bool:
    return bool(row["allow_pretrain_speakers"]) and bool(row["pretrain_speakers_in_test"])


def _result_drawing(results: Results, corpus: str, params: ReportParams) -> page.Block:
    rows = results.table[results.table["corpus"] == corpus]
    runs = results.runs[results.runs["corpus"] == corpus]
    measure = title(chosen_measure(records(rows)[0], params.measure))
    label = f"{measure} of every system on {corpus}: " + ", ".join(
        f"{row['mode']} {number(row[f'{chosen_measure(row, params.measure)}_mean'])}" for row in records(rows)
    )
    drawn = svg(
        lambda axis: results_panel(axis, runs, rows, measure=params.measure),
        width=4.6,
        height=0.95 + 0.34 * len(rows),
        label=label,
    )
    return page.drawing(drawn, f"{corpus}: one dot a training (fold and seed), bar: mean ± standard deviation.")


def _answer_blocks(answers: Sequence[Answers]) -> list[page.Block]:
    blocks, more = [], []
    for corpus in dict.fromkeys(each.corpus for each in answers):
        own = [each for each in answers if each.corpus == corpus]
        blocks.append(page.panels([_answer_block(each) for each in own if not is_baseline(each.mode)]))
        if simple := [_answer_block(each) for each in own if is_baseline(each.mode)]:
            more.append(page.panels(simple))
    return [*blocks, page.details("The same of the simple recognisers", more)] if more else blocks


def _answer_block(each: Answers) -> page.Block:
    name = f"{each.corpus}, {each.mode}"
    truth, predicted = each.truth, each.predicted
    if truth is None or predicted is None:
        return page.matrix(each, caption=name)
    label = f"{name}: actual against predicted, a dot an utterance"
    drawn = svg(lambda axis: attributes_panel(axis, truth, predicted, each.names), width=4.4, height=3.8, label=label)
    return page.drawing(drawn, label)


def _details(results: Results, params: ReportParams) -> list[page.Block]:
    rules = [rules_line(records(group)) for _, group in results.table.groupby("corpus", sort=True)]
    blocks = [page.details("Protocol: folds, labels, normalisation", [page.bullets([f"{line}." for line in rules])])]
    if tests := _tests(networks(results.paired)):
        rest = "The same of the simple recognisers is in paired.csv."
        blocks.append(
            page.details("Every measure and every test", [*tests, *map(page.note, (rest, PAIR_NOTE, SUBSET_NOTE))])
        )
    if not results.classes.empty:
        blocks.append(page.details("Each class, all folds together", _classes(results.classes)))
    if results.pretrain is not None:
        blocks.append(page.details("Pretraining: what the face taught", _pretraining(results, results.pretrain)))
    blocks.append(page.details("Training curves", [page.panels(_curves(results))]))
    if results.summary is not None and (counted := summary_blocks(results.summary)):
        blocks.append(page.details("Films, faces and labels that went in", counted))
    return blocks


def _tests(paired: pd.DataFrame) -> list[page.Block]:
    """Return a table a corpus and network, a row a measure."""
    left_out = ("corpus", "mode - scratch")
    return [
        page.table(
            [{name: cell for name, cell in row.items() if name not in left_out} for row in paired_rows(group)],
            caption=f"{corpus}: {mode} - scratch",
        )
        for (corpus, mode), group in paired.groupby(["corpus", "mode"], sort=False)
    ]


def _classes(classes: pd.DataFrame) -> list[page.Block]:
    """Return a table a corpus: F1 of every class, a column a system."""
    blocks = []
    for corpus, group in classes.groupby("corpus", sort=True):
        count = group.groupby("class")["n"].first()
        rows = [
            {"class": name, "utterances": f"{count[name]:.0f}"}
            | {row["mode"]: number(row["f1"]) for row in records(own)}
            for name, own in group.groupby("class", sort=True)
        ]
        blocks.append(page.table(rows, caption=f"{corpus}: F1", small="recall and precision are in classes.csv"))
    return blocks


def _pretraining(results: Results, pretrain: dict[str, Any]) -> list[page.Block]:
    side = pretrain["held_out"]
    trained = f", who were trained on: other {side['unit']}" if "unit" in side else ""
    chose = ", who also chose the epoch." if side["part"] == "dev" and results.monitor != "last" else "."
    text = f"Measured on {side['rows']} segments of {side['speakers']} {side['part']} speakers{trained}{chose}"
    blocks = [page.note(text)]
    if pretrain["tasks"]:
        blocks.append(
            page.table([_task_row(name, values) for name, values in pretrain["tasks"].items()], label="tasks")
        )
    if "dense" in pretrain:
        rows = [{"track": name, "correlation": number(value, 2) or "-"} for name, value in pretrain["dense"].items()]
        blocks.append(page.table(rows, caption="Tracks learnt on every frame, correlation over held-out frames"))
    encoder = pretrain["encoder"]
    ranks = [
        {
            "what the encoder gives": f"a vector {kind}",
            "effective rank before": number(encoder.get(f"{prefix}effective_rank_before"), 1),
            "after": number(encoder.get(f"{prefix}effective_rank"), 1),
            "dead units": f"{100 * encoder.get(f'{prefix}dead_units', 0):.0f} %",
        }
        for kind, prefix in (("an utterance", ""), ("a frame", "frame_"))
        if f"{prefix}effective_rank" in encoder
    ]
    return [*blocks, page.table(ranks, label="encoder")] if ranks else blocks


def _task_row(name: str, values: dict[str, Any]) -> dict[str, Any]:
    counts = {
        f"{side} labels": ", ".join(f"{label} {count}" for label, count in values[f"{key}_labels"].items())
        for side, key in (("training", "train"), ("held-out", "held_out"))
    }
    measures = {title(key): values.get(key) for key in (*MEASURES, "chance")}
    return {"task": name.replace("_", " "), **measures, **counts}


def _curves(results: Results) -> list[page.Block]:
    drawings = []

    def add(panel: Callable[..., Tips], history: pd.DataFrame, label: str) -> None:
        drawn = svg(lambda axis: panel(axis, history, score=results.score), width=4.4, height=3.2, label=label)
        drawings.append(page.drawing(drawn, label))

    if results.pretrain_history is not None:
        add(pretraining_panel, results.pretrain_history, "pretraining: score on held-out speakers over the epochs")
    for corpus, group in results.history.groupby("corpus", sort=True):
        add(training_panel, group, f"fine-tuning on {corpus}: mean of the runs over the epochs")
    return drawings
