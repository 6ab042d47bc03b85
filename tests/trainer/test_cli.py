"""The commands: what they run, print and refuse."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from tests import ROOT
from tests.trainer.conftest import labelled_rows, unlabelled_rows
from tests.trainer.report.examples import write_two_folds
from trainer import cli
from trainer.cli import app
from trainer.params import Params


@pytest.fixture
def home(make_shards: Callable[..., Path], tiny: Callable[..., Params], tmp_path: Path) -> Path:
    """A project folder with shards where the commands look for them, and a params.yaml."""
    make_shards("unlabelled", unlabelled_rows())
    make_shards("labelled", labelled_rows())
    (tmp_path / "data").mkdir()
    (tmp_path / "shards").rename(tmp_path / "data" / "shards")
    params = tiny(pretrain={"epochs": 2}, finetune={"epochs": 2}).model_dump(mode="json")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def test_the_four_commands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    runner = CliRunner()

    def call(*arguments: str) -> str:
        result = runner.invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
        return result.output

    assert "energy_variation" in call("pretrain")
    call("finetune", "--workers", "1")
    shown = call("report")
    assert "toy" in shown
    assert "reports/index.html" in shown
    assert call("report", "--show") == shown
    assert "72 predictions" in call("predict", "data/shards/labelled", "-m", "models/finetune/toy/scratch")


def test_errors_are_shown_without_a_traceback(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "params.yaml").write_text("pretrain: {epochs: none}")
    result = CliRunner().invoke(app, ["pretrain"])
    assert result.exit_code == 2
    assert "pretrain.epochs" in result.output
    assert "Traceback" not in result.output


def test_trains_where_the_pipelines_packages_are_absent(home: Path) -> None:
    """The import wall: every blocked import raises, and the whole way to the report works all the same."""
    blocked = ["mediapipe", "feat", "opensmile", "ffmpeg", "av", "librosa", "cv2", "dask", "soundfile", "pipeline"]
    code = f"""
import importlib.abc, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Wall())
from trainer.cli import app
for command in (["pretrain"], ["finetune", "--workers", "1"], ["report"],
                ["predict", "data/shards/labelled", "-m", "models/pretrain"]):
    app(command, standalone_mode=False)
"""
    environment: dict[str, Any] = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (home / "reports" / "index.html").is_file()
    assert (home / "predictions.parquet").is_file()


def test_the_printed_table_fits_a_terminal_of_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.chdir(home)
    write_two_folds(tmp_path / "reports", corpus="a_corpus_with_a_long_name")
    runs = pd.read_parquet(tmp_path / "reports" / "finetune_runs.parquet")
    predictions = pd.read_parquet(tmp_path / "reports" / "predictions.parquet")
    for table, name in ((runs, "finetune_runs"), (predictions, "predictions")):
        more = table[table["mode"] == "scratch"].assign(mode="svm-linear compare")
        pd.concat([table, more], ignore_index=True).to_parquet(tmp_path / "reports" / f"{name}.parquet")
    screen = StringIO()
    monkeypatch.setattr(cli, "console", Console(width=80, file=screen, force_terminal=True, no_color=True))
    assert CliRunner().invoke(app, ["report"]).exit_code == 0
    lines = re.sub("\x1b\\[[0-9;]*m", "", screen.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    assert "…" not in shown
    for piece in (
        "a_corpus_with_a_long_name: emotion, 2 classes; label voice, majority; normalisation train;",
        "2 folds by speaker, 2 x 1 seeds",
        "pretraining tasks 1+2+3, transfer all",
        "mode macro P UAR macro F1 WA pooled interval",
        "pretrained .600±.141 .600±.141 .600±.141 .600±.141 .750 .50-1.00",
        "svm-linear .500±.141",  # the rest of its name below
        ".50-1.00",
        "(+20.0 %) over 2 pairs",
        "Pretraining changed UAR on a_corpus_with_a_long_name by +.100 [+.100, +.100] over 2 pairs: too few pairs",
    ):
        assert piece in shown, piece
    assert (
        shown.index("Wilcoxon") < shown.index("Pretraining changed") < shown.index("mode macro P")
    )  # the table is last
    assert "svm-linear compare - scratch" not in shown  # tests of simple recognisers are in the files
