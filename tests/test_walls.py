"""The two halves share the Parquet contract and nothing else; and the pipeline's parts load lazily."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import ROOT
from trainer.params import Params

MEDIA_PACKAGES = {
    "av",
    "cv2",
    "dask",
    "distributed",
    "feat",
    "ffmpeg",
    "imageio_ffmpeg",
    "librosa",
    "mediapipe",
    "opensmile",
    "espeakng_loader",
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


# A tool, no part of training or evaluation: a raw sound must become features exactly as the pipeline makes them.
TOOLS = {"animate.py"}


@pytest.mark.parametrize(
    ("package", "foreign"), [("trainer", {"pipeline", *MEDIA_PACKAGES}), ("pipeline", {"trainer"})]
)
def test_no_file_reaches_into_the_other_half(package, foreign):
    files = sorted(path for path in (ROOT / package).rglob("*.py") if path.name not in TOOLS)
    assert len(files) > 5
    offenders = {str(path.relative_to(ROOT)): sorted(imported(path) & foreign) for path in files}
    assert not {path: names for path, names in offenders.items() if names}


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_calls_the_pipeline_when_it_runs_and_nothing_else_needs_it(name):
    path = ROOT / "trainer" / name
    assert not imported(path) & MEDIA_PACKAGES
    at_import = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any("pipeline" in ast.unparse(node) for node in at_import)
    users = [file.name for file in (ROOT / "trainer").rglob("*.py") if f"trainer.{path.stem}" in file.read_text()]
    assert users == ["cli_sisters.py"]


def reached(path: Path, package: str, *, but: set[str]) -> set[Path]:
    """Return the files of a package that a file imports, itself included, however indirectly, past none of ``but``."""
    seen: set[Path] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        if file in seen or file.name in but:
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                files = [ROOT / f"{name.replace('.', '/')}.py" for name in names]
                todo += [file for file in files if file.is_file()]
    return seen


# Code that reads parameters, reports mistakes or gathers finished runs changes no number of a training.
NO_NUMBERS = {
    "params.py",
    "study_params.py",
    "training_params.py",
    "errors.py",
    "registry.py",
    "collect.py",
    "results.py",
    "processes.py",
}


FLOWS = {"pretrain": "dvc.yaml", "finetune": "dvc.yaml", "orofacial": "recipes/orofacial/dvc.yaml"}


@pytest.mark.parametrize("stage", list(FLOWS))
def test_a_training_stage_depends_on_all_the_code_that_makes_its_numbers(stage):
    # Regression: an edited loss or aggregator left the old model in place, since the stage did not list it.
    stages = yaml.safe_load((ROOT / FLOWS[stage]).read_text())["stages"]
    needed = {path.name for path in reached(ROOT / "trainer" / f"{stage}.py", "trainer", but=NO_NUMBERS)}
    assert len(needed) > 8
    assert needed <= {Path(dep).name for dep in stages[stage]["deps"]}


def test_the_ablation_is_no_part_of_the_flow_and_depends_on_the_whole_trainer():
    assert "ablation" not in (ROOT / "dvc.yaml").read_text()
    stage = yaml.safe_load((ROOT / "recipes" / "results" / "dvc.yaml").read_text())["stages"]["ablation"]
    assert "trainer" in stage["deps"]
    others = {"baselines", "cluster", "orofacial", "penalisation", "sequence"}
    assert set(stage["params"]) == set(Params.model_fields) - others


def test_the_command_lines_answer_without_loading_anything_heavy():
    heavy = sorted({*MEDIA_PACKAGES - {"dask"}, "torch", "sklearn"})
    for module in ("pipeline.cli", "trainer.cli"):
        code = f"import sys, {module}; print([n for n in {heavy} if n in sys.modules])"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
        assert run.stdout.strip() == "[]", module


def test_no_machine_paths_or_index_hosts_in_tracked_files():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    texts = {}
    for name in listing.stdout.split():
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".toml", ".txt", ".yaml", ".yml", ".md", ".csv", ".lock", ""}:
            texts[name] = path.read_text(errors="ignore")
    bad = ["/ro" + "ot/", "/wo" + "rk/", "/tm" + "p/", "files.pythonhosted" + ".org", "file:" + "//"]
    assert not [(name, word) for name, text in texts.items() for word in bad if word in text]
