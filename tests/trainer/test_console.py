"""A mistake is a message and exit status 2, a fault of the machine 1, Ctrl-C 130; none is a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from typer.testing import CliRunner

from tests import ROOT
from tests.trainer.conftest import labelled_rows, unlabelled_rows
from trainer.cli import app
from trainer.params import Params


@pytest.fixture
def project(tiny: Callable[..., Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a params.yaml, entered."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize("command", ["pretrain", "finetune", "baselines", "report", "cluster", "ablation"])
def test_a_wrong_key_of_params_yaml_leaves_with_2(project: Path, command: str) -> None:
    (project / "params.yaml").write_text("finetune: {epoch: 3}")
    assert "params.yaml:\n  finetune.epoch: unknown key" in refused(command)


@pytest.mark.parametrize(
    "arguments",
    [["pretrain"], ["finetune"], ["baselines"], ["sequence"], ["orofacial"], ["ablation", "--count"], ["cluster"]],
    ids=lambda arguments: arguments[0],
)
def test_a_missing_folder_of_shards_leaves_with_2(project: Path, arguments: list[str]) -> None:
    recipe = project / "recipes" / arguments[0] / "params.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("systems: {a: {}}" if arguments == ["sequence"] else "{}")
    assert "no shards" in refused(*arguments)


def test_a_wrong_key_or_a_missing_file_of_a_recipe_leaves_with_2(project: Path) -> None:
    assert "no parameter file recipes/cluster/params.yaml" in refused("cluster")
    (project / "r.yaml").write_text("clusters: 3")
    assert "r.yaml:\n  clusters: unknown key" in refused("cluster", "--recipe", "r.yaml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "auto"])
def test_a_device_that_is_not_there_leaves_with_2(
    project: Path, make_shards: Callable[..., Path], tiny: Callable[..., Params], device: str
) -> None:
    folder = make_shards("u", unlabelled_rows())
    text = yaml.safe_dump(tiny().model_dump(mode="json")).replace("device: cpu", f"device: {device}")
    (project / "params.yaml").write_text(text)
    assert "device" in refused("pretrain", "--shards", str(folder))


def test_a_fault_of_the_machine_is_one_line_and_leaves_with_1(project: Path, make_shards: Callable[..., Path]) -> None:
    folder = make_shards("u", unlabelled_rows())
    (project / "models").touch()
    result = CliRunner().invoke(app, ["pretrain", "--shards", str(folder)])
    assert result.exit_code == 1
    assert "Not a directory" in result.output or "File exists" in result.output
    assert "Traceback" not in result.output


def test_a_training_that_diverges_says_when_and_why(
    project: Path, make_shards: Callable[..., Path], tiny: Callable[..., Params]
) -> None:
    params = tiny(finetune={"modes": ["scratch"], "lr": 1000.0, "weight_decay": 1000.0})
    (project / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    said = refused("finetune", "--shards", str(make_shards("l", labelled_rows())), "--workers", "1")
    assert "toy scratch fold 1 seed 0: training diverged at epoch" in said
    assert "lower lr" in said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_the_command_and_its_workers_with_130(
    project: Path, make_shards: Callable[..., Path], tiny: Callable[..., Params], workers: str
) -> None:
    params = tiny(finetune={"modes": ["scratch"], "epochs": 5000, "patience": 5000, "folds": 2})
    (project / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    shards = make_shards("l", labelled_rows())
    arguments = [sys.executable, "-m", "trainer", "finetune", "--shards", str(shards), "--workers", workers]
    process = subprocess.Popen(
        arguments,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts what it runs in the background with Ctrl-C ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(project.glob(".cache/trainer/frames/[!.]*")):
        time.sleep(0.05)
    time.sleep(3)
    children = psutil.Process(process.pid).children(recursive=True)
    assert bool(children) == (workers == "2")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err.strip().splitlines() == [
        "error: interrupted; finished runs are kept: the same command goes on from there"
    ], err
    assert "Traceback" not in out
    assert not psutil.wait_procs(children, timeout=10)[1]
