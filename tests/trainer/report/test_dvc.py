"""What DVC itself shows of a report: about ten numbers, pictures without a network, nothing of what was not run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.dvc_projects import commit, done, project
from tests.trainer.report.browser import needs_chromium, opened
from tests.trainer.report.examples import tables, write_tables
from trainer.evaluation.tables import paired_table, pool, result_table
from trainer.params import ReportParams
from trainer.report.dvc import LIMIT, metrics_json
from trainer.report.report import report

ALL = ("scratch", "pretrained", "frozen", "svm-linear compare")
PARAMS = ReportParams(summary="", resamples=100)
CLASSES = ("anger", "happiness", "sadness")


def leaves(value: object) -> list[object]:
    return [leaf for item in value.values() for leaf in leaves(item)] if isinstance(value, dict) else [value]


def shown(corpora: tuple[str, ...], modes: tuple[str, ...] = ALL) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    runs, predictions, _ = tables(dict.fromkeys(corpora, CLASSES), modes=modes)
    pooled = pool(runs, predictions, params=PARAMS)
    table, paired = result_table(runs, pooled, params=PARAMS), paired_table(runs, pooled, params=PARAMS)
    return metrics_json(table, paired, measure="uar"), table.set_index(["corpus", "mode"]), paired


def test_numbers_are_those_of_the_tables() -> None:
    numbers, table, paired = shown(("emodb",), ALL[:2])
    assert list(numbers) == ["scratch", "pretrained", "gain", "p"]
    assert numbers["pretrained"]["f1"] == pytest.approx(table.loc[("emodb", "pretrained"), "macro_f1_mean"], abs=5e-5)
    test = paired[(paired["mode"] == "pretrained") & (paired["measure"] == "uar")].iloc[0]
    assert (numbers["gain"], numbers["p"]) == pytest.approx((test["mean_difference"], test["p_t_test"]), abs=5e-5)


@pytest.mark.parametrize("corpora", [1, 2, 3, 5])
@pytest.mark.parametrize("modes", [("scratch",), ALL[:2], ALL, ("pretrained", "svm-linear compare")])
def test_there_are_about_ten_numbers(corpora: int, modes: tuple[str, ...]) -> None:
    numbers, _, _ = shown(tuple(f"corpus{i}" for i in range(corpora)), modes)
    assert 1 <= len(leaves(numbers)) <= LIMIT
    assert all(isinstance(value, float) for value in leaves(numbers))
    assert (corpora > 1) == ("corpus0" in numbers)


def test_three_networks_keep_one_measure_each() -> None:
    numbers, _, _ = shown(("emodb",))
    assert {name: list(own) for name, own in numbers.items() if isinstance(own, dict)} == {
        name: ["uar"] for name in ALL[:3]
    }


@pytest.fixture(scope="module", params=[("emodb",), ("emodb", "ravdess")], ids=len)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a committed report, another in the workspace, and no recipe that was ever run."""
    folder = project(tmp_path_factory.mktemp("dvc") / "project")
    for seed in (0, 1):
        corpora = dict.fromkeys(request.param, CLASSES)
        write_tables(folder / "reports", corpora=corpora, modes=ALL[:2], seed=seed)
        report(folder / "reports", folder / "none", PARAMS)
        if not seed:
            commit(folder, "a report")
            for path in (folder / "reports").rglob("*"):
                path.chmod(0o755)
    return folder


@pytest.mark.slow
def test_metrics_are_one_line_of_at_most_120_columns(finished: Path) -> None:
    text = done(finished, "dvc", "metrics", "show")
    lines = text.rstrip().splitlines()
    assert len(lines) == 2  # heading and values; no message
    assert max(map(len, lines)) <= 120
    for measure in ("uar", "gain", "p "):
        assert measure in text
    assert "gain" in done(finished, "dvc", "metrics", "diff")


@pytest.mark.slow
def test_experiments_are_readable_in_120_columns(finished: Path) -> None:
    plain = done(finished, "dvc", "exp", "show")
    heading = next(line for line in plain.splitlines() if "Experiment" in line)
    numbers = len(leaves(json.loads((finished / "reports/metrics.json").read_text())))
    assert len(heading[:125].split()) >= 2 + numbers  # metrics stand before parameters and outputs
    changed = done(finished, "dvc", "exp", "show", "--only-changed", "--drop", "reports/.*")
    assert max(len(line.rstrip()) for line in changed.splitlines()) <= 125
    for text in (plain, changed):
        assert "recipes" not in text.splitlines()[0]
        assert "failed" not in text.replace("run.max_failed_share", "")
        assert "!" not in text  # what DVC prints where a file could not be read


@pytest.mark.slow
@needs_chromium()
def test_plots_are_pictures_that_need_no_network(finished: Path) -> None:
    text = done(finished, "dvc", "plots", "show")
    assert len(text.strip().splitlines()) == 1  # the place of the page, and no message
    page_ = finished / "dvc_plots" / "index.html"
    assert "http" not in page_.read_text()
    with opened(page_, width=1280) as (page, wrong):
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert len(widths) == 3
        assert min(widths) > 200
        assert wrong == []
    both = done(finished, "dvc", "plots", "diff", "HEAD")
    assert "failed" not in both
