"""The two halves share the Parquet contract and nothing else; and the pipeline's parts load lazily."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trainer.params import Params

ROOT = Path(__file__).parents[1]
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


@pytest.mark.parametrize(
    ("package", "foreign"), [("trainer", {"pipeline", *MEDIA_PACKAGES}), ("pipeline", {"trainer"})]
)
def test_no_file_reaches_into_the_other_half(package, foreign):
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 5
    offenders = {str(path.relative_to(ROOT)): sorted(imported(path) & foreign) for path in files}
    assert not {path: names for path, names in offenders.items() if names}


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
NO_NUMBERS = {"params.py", "errors.py", "registry.py", "collect.py", "results.py", "processes.py"}


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_training_stage_depends_on_all_the_code_that_makes_its_numbers(stage):
    # Regression: an edited loss or aggregator left the old model in place, since the stage did not list it.
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    needed = {path.name for path in reached(ROOT / "trainer" / f"{stage}.py", "trainer", but=NO_NUMBERS)}
    assert len(needed) > 8
    assert needed <= {Path(dep).name for dep in stages[stage]["deps"]}


def test_the_ablation_is_no_part_of_the_flow_and_depends_on_the_whole_trainer():
    assert "ablation" not in (ROOT / "dvc.yaml").read_text()
    stage = yaml.safe_load((ROOT / "recipes" / "results" / "dvc.yaml").read_text())["stages"]["ablation"]
    assert "trainer" in stage["deps"]
    assert set(stage["params"]) == set(Params.model_fields) - {"baselines", "cluster"}


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
