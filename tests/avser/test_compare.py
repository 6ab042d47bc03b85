"""Two results side by side: folders, and in a real DVC project revisions, experiments and the workspace."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from avser.compare import compare
from avser.results import Result, opened
from tests.dvc_projects import command, commit, done, project
from tests.trainer.report.examples import write_tables
from trainer.errors import InputError
from trainer.evaluation.significance import paired_test
from trainer.params import ReportParams
from trainer.report.report import report

PARAMS = ReportParams(summary="", resamples=100)
CORPORA = {"emodb": ("anger", "happiness", "sadness"), "ravdess": ("anger", "calm", "fear")}


MODES = ("scratch", "pretrained", "svm-linear compare")


def written(folder: Path, *, seed: int, folds: int = 3, seeds: int = 3, modes: tuple[str, ...] = MODES) -> Result:
    write_tables(folder, corpora=CORPORA, modes=modes, seed=seed, folds=folds, seeds=seeds)
    report(folder, folder / "none", PARAMS)
    return Result(str(folder), folder)


def test_numbers_and_tests_are_those_of_the_tables(tmp_path: Path) -> None:
    old, new = written(tmp_path / "old", seed=0), written(tmp_path / "new", seed=1)
    compared = compare(old, new, PARAMS)
    assert not compared.notes
    assert list(compared.tables) == ["emodb", "ravdess"]
    rows = {row[""]: row for row in compared.tables["emodb"]}
    assert list(rows) == [
        *("scratch, UAR", "scratch, macro F1", "pretrained, UAR", "pretrained, macro F1"),
        *("pretrained - scratch", "pretrained - scratch, p"),
    ]
    runs = [pd.read_parquet(each.folder / "finetune_runs.parquet") for each in (old, new)]
    old_uar, new_uar = (
        table[(table["corpus"] == "emodb") & (table["mode"] == "pretrained")]["uar"].to_numpy() for table in runs
    )
    test = paired_test(new_uar, old_uar)
    row = rows["pretrained, UAR"]
    assert float(row["old"]) == pytest.approx(old_uar.mean(), abs=5e-4)
    assert float(row["new"]) == pytest.approx(new_uar.mean(), abs=5e-4)
    assert float(row["difference"]) == pytest.approx(test["mean_difference"], abs=5e-4)
    assert float(row["p"]) >= test["p_t_test"] - 5e-4  # corrected for the four tests shown
    assert row["what follows"] in {"no difference shown", "better", "worse"}


def test_equal_results_are_said_to_be_equal(tmp_path: Path) -> None:
    one = written(tmp_path / "one", seed=0)
    first = compare(one, one, PARAMS).tables["emodb"][0]
    assert (first["difference"], first["what follows"]) == ("+.000", "every run is equal")
    assert set(first) == {"", "first", "second", "difference", "interval", "p", "what follows"}


@pytest.mark.parametrize(
    ("other", "why"),
    [({"folds": 2}, "other utterances or folds were tested"), ({"seeds": 1}, "")],
    ids=["folds", "fewer seeds"],
)
def test_what_cannot_be_paired_is_not_tested(tmp_path: Path, other: dict[str, int], why: str) -> None:
    compared = compare(written(tmp_path / "a", seed=0), written(tmp_path / "b", seed=1, **other), PARAMS)
    assert all((why in note) for note in compared.notes)
    assert bool(compared.notes) == bool(why)
    tested = {row["what follows"] for row in compared.tables["emodb"] if "what follows" in row} - {""}
    assert tested == (set() if why else {"too few pairs"})  # three folds of one seed


def test_what_one_side_lacks_is_left_out(tmp_path: Path) -> None:
    old, new = written(tmp_path / "a", seed=0), written(tmp_path / "b", seed=1, modes=("scratch",))
    compared = compare(old, new, PARAMS)
    assert not compared.notes
    assert {row[""] for row in compared.tables["emodb"] if row.get("what follows")} == {"scratch, UAR"}


def test_without_tables_the_metrics_are_compared(tmp_path: Path) -> None:
    written(tmp_path / "whole", seed=0)
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / "whole/metrics.json", tmp_path / "bare")
    compared = compare(Result("bare", tmp_path / "bare"), Result("whole", tmp_path / "whole"), PARAMS)
    assert "only metrics.json is at hand" in compared.notes[0]
    assert {row[""] for row in compared.tables[""]} >= {"emodb.uar", "emodb.gain", "ravdess.gain"}
    assert {row["difference"] for row in compared.tables[""]} == {"+.000"}


def test_labels_that_changed_are_shown(tmp_path: Path) -> None:
    results = []
    for name, uar in (("a", 0.8), ("b", 0.9)):
        results.append(written(tmp_path / name, seed=0))
        summary = {"unlabelled": {"clips_in": 3, "segments": 3}, "planted_truth": {"t3": {"uar": uar}}}
        (tmp_path / name / "pipeline.json").write_text(json.dumps(summary))
    rows = {row[""]: row["difference"] for row in compare(*results, PARAMS).tables["labels of the unlabelled films"]}
    assert rows == {"segments, unlabelled": "+0", "T3 labels, UAR": "+.100"}


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    words = r"no report in the folder .*: run `python -m trainer report`"
    with pytest.raises(InputError, match=words), opened(str(tmp_path), Path("reports")):
        pass


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a committed report, an experiment of other seeds and parameters, which the workspace still has."""
    folder = project(tmp_path_factory.mktemp("compare") / "project")
    written(folder / "reports", seed=0)
    commit(folder, "a report")
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("measure: uar", "measure: macro_f1"))
    for path in (folder / "reports").rglob("*"):
        path.chmod(0o755)
    written(folder / "reports", seed=1)
    done(folder, "dvc", "commit", "-q", "-f", "report")
    done(folder, "dvc", "exp", "save", "-n", "other-measure", "dvc.yaml")  # no recipe was run
    return folder


def avser_compare(folder: Path, *arguments: str) -> str:
    return done(folder, sys.executable, "-m", "avser", "compare", *arguments)


@pytest.mark.slow
def test_the_workspace_is_compared_with_the_last_commit(here: Path) -> None:
    shown = avser_compare(here)
    assert "workspace minus HEAD" in " ".join(shown.split())
    assert "report.measure" in shown
    assert "HEAD  workspace  difference" in shown
    assert "no difference shown" in shown
    assert "note:" not in shown
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.slow
def test_an_experiment_is_known_by_its_name(here: Path) -> None:
    assert "every run is equal" in avser_compare(here, "other-measure", "workspace")
    assert "main  other-measure  difference" in avser_compare(here, "main", "other-measure")


@pytest.mark.slow
def test_a_name_that_nobody_knows_is_a_mistake_with_a_remedy(here: Path) -> None:
    found = command(here, sys.executable, "-m", "avser", "compare", "nonsense")
    assert found.returncode == 2
    assert "nonsense is neither a folder nor a git revision or experiment" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_what_has_left_the_cache_is_said(here: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(here, copy, symlinks=True)
    for path in (copy / ".dvc/cache").rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(copy / ".dvc/cache")
    shown = avser_compare(copy)
    assert "HEAD: only metrics.json is at hand" in shown
    assert "emodb.uar" in shown
