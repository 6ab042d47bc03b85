"""One folder is a wall, a part of a cache key and a DVC dependency: all three are computed from the imports.

Nothing here lists modules by hand but the order of the floors: a file imports from its own floor or from a lower one.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml

from tests import ROOT

FLOORS = {
    "trainer": ["errors", "store", "params", "progress", "console", "data", "objectives", "models", "training",
                "pretraining", "finetuning", "evaluation", "report", "final", "baselines", "recipes", "front_end",
                "predictor", "predict", "export_onnx", "cli", "__main__"],
    "pipeline": ["errors", "config", "contracts", "engine", "rounding", "media", "manifest", "corpora", "segments",
                 "audio", "acoustics", "front_end", "functionals", "faces", "labels", "orofacial", "synthetic",
                 "params", "stages", "checks", "cli", "__main__"],
}  # fmt: skip
# Floors that read parameters (whose values DVC and the keys know), report, and carry rows, but make no number.
GROUND = {
    "trainer": {"errors", "store", "params", "progress", "console"},
    "pipeline": {"errors", "config", "contracts", "engine", "params"},
}
MEDIA_PACKAGES = {"av", "cv2", "dask", "distributed", "espeakng_loader", "feat", "ffmpeg", "imageio_ffmpeg", "librosa",
                  "mediapipe", "opensmile"}  # fmt: skip
# A tool, no part of training or evaluation: a raw sound must become features exactly as the pipeline makes them.
TOOL = ROOT / "trainer" / "recipes" / "orofacial" / "animate.py"
FILES = {half: sorted((ROOT / half).rglob("*.py")) for half in FLOORS}


def module_file(name: str) -> Path | None:
    """Return the file of a module of this project, by its dotted name."""
    path = ROOT / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that code imports anywhere, but for type checking alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if module_file(deeper) else node.module
        yield from imports(node)


def imported_files(path: Path) -> set[Path]:
    """Return the files of this project that a file imports."""
    found = (module_file(name) for name in imports(ast.parse(path.read_text())))
    return {file for file in found if file is not None}


def floor(path: Path) -> str:
    """Return the floor a file lies on: its top folder or file inside its half."""
    return path.relative_to(ROOT).parts[1].removesuffix(".py")


def test_each_file_lies_on_a_floor():
    for half, files in FILES.items():
        assert {floor(path) for path in files} - {"__init__"} == set(FLOORS[half])


@pytest.mark.parametrize("half", list(FLOORS))
def test_every_floor_stands_on_lower_ones(half):
    order = FLOORS[half]
    wrong = [
        f"{path.relative_to(ROOT)} imports {other.relative_to(ROOT)}"
        for path in FILES[half]
        if floor(path) != "__init__"
        for other in imported_files(path)
        if other.relative_to(ROOT).parts[0] == half and floor(other) != "__init__"
        if order.index(floor(other)) > order.index(floor(path))
    ]
    assert not wrong


def test_what_makes_numbers_imports_nothing_else():
    from trainer.store import NUMBERS

    allowed = {*NUMBERS, "params", "errors", "store"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {other.relative_to(ROOT)}"
        for path in FILES["trainer"]
        if floor(path) in NUMBERS
        for other in imported_files(path)
        if floor(other) not in allowed
    ]
    assert not wrong


def test_a_recipe_imports_no_other_recipe():
    folder = ROOT / "trainer" / "recipes"
    wrong = [
        f"{path.relative_to(ROOT)} imports {other.relative_to(ROOT)}"
        for path in folder.glob("*/*.py")
        for other in imported_files(path)
        if other.is_relative_to(folder) and other.parent != path.parent and other.parent != folder
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("package", "foreign"), [("trainer", {"avser", "pipeline", *MEDIA_PACKAGES}), ("pipeline", {"avser", "trainer"})]
)
def test_trainer_and_pipeline_do_not_import_each_other(package, foreign):
    offenders = {
        str(path.relative_to(ROOT)): names
        for path in FILES[package]
        if path != TOOL
        if (names := {name.split(".")[0] for name in imports(ast.parse(path.read_text()))} & foreign)
    }
    assert not offenders


def test_the_tool_calls_the_pipeline_when_it_runs_and_nothing_else_needs_it():
    tree = ast.parse(TOOL.read_text())
    assert not {name.split(".")[0] for name in imports(tree)} & MEDIA_PACKAGES
    at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any("pipeline" in ast.unparse(node) for node in at_import)
    users = [path for path in FILES["trainer"] if TOOL in imported_files(path)]
    assert users == [ROOT / "trainer" / "recipes" / "cli.py"]


def reached(path: Path) -> set[Path]:
    """Return the files of its half that a file imports, itself included, however indirectly, but for the ground.

    ``config.py`` holds types and bounds of parameters, whose values DVC and the keys know.
    """
    half = path.relative_to(ROOT).parts[0]
    seen: set[Path] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        if file not in seen and file.relative_to(ROOT).parts[0] == half and floor(file) not in GROUND[half]:
            seen.add(file)
            todo += imported_files(file)
    return {file for file in seen if file.name != "config.py"}


def command_files(half: str, command: str) -> set[Path]:
    """Return the files that the function of a command imports, or a function of its module that it calls."""
    group = typer.main.get_command(importlib.import_module(f"{half}.cli").app)
    todo, files = [inspect.unwrap(group.commands[command].callback)], set()  # type: ignore[attr-defined]
    for function in todo:
        for name in imports(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            files.add(module_file(name))
        called = (function.__globals__.get(name) for name in function.__code__.co_names)
        todo += [other for other in called if inspect.isfunction(other) and other.__module__ == function.__module__]
    return {file for file in files if file is not None and floor(file) not in GROUND[half]}


def stages() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every stage of every flow, by file and name."""
    for path in [ROOT / "dvc.yaml", *sorted(ROOT.glob("recipes/*/dvc.yaml"))]:
        for name, stage in yaml.safe_load(path.read_text())["stages"].items():
            yield f"{path.relative_to(ROOT)}:{name}", stage.get("do", stage)


STAGES = dict(stages())


@pytest.mark.parametrize("name", list(STAGES))
def test_a_stage_lists_the_folders_it_reaches_and_no_others(name):
    # Regressions: an edited loss left the old model in place; no stage depended on the code that splits the speakers.
    stage = STAGES[name]
    python, flag, half, command = stage["cmd"].split()[:4]
    assert (python, flag) == ("python", "-m")
    if (half, command) == ("avser", "check"):  # makes no number: it runs when parameters or manifests change
        assert stage["outs"] == ["data/check.json"]
        return
    entries = command_files(half, command)
    assert entries, f"the command {command} imports nothing"
    needed = set().union(*(reached(entry) for entry in entries))
    listed = [ROOT / dep for dep in stage["deps"] if dep.startswith(f"{half}/")]
    missing = [file for file in needed if not any(file == dep or dep in file.parents for dep in listed)]
    assert not sorted(str(file.relative_to(ROOT)) for file in missing)
    idle = [dep for dep in listed if not any(file == dep or dep in file.parents for file in needed)]
    assert not idle


def test_the_main_flow_runs_no_recipe():
    assert "recipes" not in (ROOT / "dvc.yaml").read_text()


def fingerprints(folder: Path) -> str:
    """Return the fingerprints that a copy of the project computes of its own code."""
    code = (
        "from trainer.store import code_fingerprint; from pipeline.engine.identity import code_digest; "
        "print(code_fingerprint(), code_digest(('pipeline.media', 'pipeline.faces')))"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_an_edited_word_retrains_nothing_and_an_edited_number_does(tmp_path):
    for half in FLOORS:
        shutil.copytree(ROOT / half, tmp_path / half, ignore=shutil.ignore_patterns("__pycache__"))
    before = fingerprints(tmp_path)
    for name in ("trainer/report/formatting.py", "trainer/errors.py", "trainer/__init__.py",
                 "trainer/objectives/losses.py", "pipeline/faces/align.py"):  # fmt: skip
        with (tmp_path / name).open("a") as file:
            file.write("\n# another word\n")
    losses = tmp_path / "trainer/objectives/losses.py"
    losses.write_text(losses.read_text().replace('"""', '"""More words. ', 1))
    assert fingerprints(tmp_path) == before
    for name, changed in (("trainer/objectives/losses.py", 0), ("pipeline/faces/tracking/graphs.py", 1)):
        with (tmp_path / name).open("a") as file:
            file.write("\nANOTHER_NUMBER = 1\n")
        now = fingerprints(tmp_path).split()
        assert now[changed] != before.split()[changed]


def test_names_in_params_are_the_keys_of_the_dictionaries():
    from pipeline.faces.backends import BACKENDS
    from pipeline.faces.config import FacesConfig
    from trainer.models.aggregators import AGGREGATORS
    from trainer.models.encoders import CHUNK_ENCODERS
    from trainer.objectives import OBJECTIVES
    from trainer.params import EncoderParams, FinetuneParams

    for section, field, choices in (
        (FacesConfig, "backend", BACKENDS),
        (EncoderParams, "chunk_encoder", CHUNK_ENCODERS),
        (EncoderParams, "aggregator", AGGREGATORS),
        (FinetuneParams, "objective", OBJECTIVES),
    ):
        assert set(get_args(section.model_fields[field].annotation)) == set(choices)  # type: ignore[attr-defined]


def test_the_command_lines_answer_without_loading_anything_heavy():
    heavy = sorted({*MEDIA_PACKAGES - {"dask"}, "torch", "sklearn"})
    for module in ("pipeline.cli", "trainer.cli"):
        code = f"import sys, {module}; print([n for n in {heavy} if n in sys.modules])"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
        assert run.stdout.strip() == "[]", module


def test_no_file_of_code_has_grown_past_three_hundred_lines():
    long = {
        str(path.relative_to(ROOT)): count
        for files in FILES.values()
        for path in files
        if (count := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_no_machine_paths_or_index_hosts_in_tracked_files():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    texts = {}
    for name in listing.stdout.split():
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".toml", ".txt", ".yaml", ".yml", ".md", ".csv", ".lock", ""}:
            texts[name] = path.read_text(errors="ignore").replace(".dvc/tm" + "p/", "")  # DVC's, in every project
    bad = ["/ro" + "ot/", "/wo" + "rk/", "/tm" + "p/", "files.pythonhosted" + ".org", "file:" + "//"]
    assert not [
        (name, word) for name, text in texts.items() for word in bad if word in text.replace(".dvc/tm" + "p/", "")
    ]
