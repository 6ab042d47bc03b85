"""Small DVC projects in git with the report's stage as it is in ``dvc.yaml``, but nothing before it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests import ROOT


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a project, as a person of that machine would."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    person = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **person, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)


def done(folder: Path, *arguments: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    run = command(folder, *arguments)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return run.stdout + run.stderr


def project(folder: Path) -> Path:
    """Make the project: the outputs of stage ``report``, its metrics and plots, the parameters, and all recipes."""
    folder.mkdir()
    flow = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stage = flow["stages"]["report"]
    runs = ["reports/finetune_runs.parquet", "reports/predictions.parquet"]  # outputs of stage finetune
    stage = {"cmd": "true", "params": ["report"], "outs": [*stage["outs"], *runs], "metrics": stage["metrics"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"report": stage}, "plots": flow["plots"]}))
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    for name in ("params.yaml", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    done(folder, "git", "init", "-q", "-b", "main")
    done(folder, "dvc", "init", "-q")
    done(folder, "dvc", "config", "core.analytics", "false")
    return folder


def commit(folder: Path, message: str) -> None:
    """Keep what the report wrote: in DVC's cache, and its metrics in git."""
    done(folder, "dvc", "commit", "-q", "-f", "report")
    done(folder, "git", "add", "-A")
    done(folder, "git", "commit", "-q", "-m", message)
