"""Another locale, no home, no git, a folder with blanks, a corpus above the outputs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from tests import ROOT

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def run(*command, cwd, **environment):
    everything = {**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd, env=everything, capture_output=True, encoding="utf-8", errors="replace")


@pytest.fixture
def archive(tmp_path):
    """Return a copy of the tracked files as `git archive`, and so the web page, makes it."""
    made = subprocess.run(["git", "archive", "--worktree-attributes", "HEAD"], cwd=ROOT, capture_output=True)
    if made.returncode:
        pytest.skip("not a git checkout")
    folder = tmp_path / "My Drive ü" / "avser"
    folder.mkdir(parents=True)
    subprocess.run(["tar", "x"], input=made.stdout, cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("half", ["pipeline", "trainer"])
def test_commands_start_anew_in_utf8_where_the_locale_is_not(half, tmp_path):
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = f"import sys; from {half}.__main__ import speak_utf8; speak_utf8(); print(sys.flags.utf8_mode, 'ł')"
    (tmp_path / "say.py").write_text(code, encoding="utf-8")
    done = run(sys.executable, "say.py", cwd=tmp_path, **locale)
    assert (done.returncode, done.stdout) == (0, "1 ł\n"), done.stderr


@pytest.mark.parametrize(("half", "name"), [("pipeline", "NUMBA_CACHE_DIR"), ("trainer", "MPLCONFIGDIR")])
def test_caches_go_to_a_private_folder_where_the_home_is_closed(half, name, tmp_path):
    (tmp_path / "file").touch()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        f"import os; from {half}.__main__ import provide_caches; provide_caches(); print(os.environ.get('{name}', ''))"
    )
    homes = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": "", "TMPDIR": str(scratch), name: ""}
    made = run(sys.executable, "-c", f"import os; del os.environ['{name}']; {code}", cwd=tmp_path, **homes)
    assert Path(made.stdout.strip()).parent == scratch, made.stderr
    assert not list(scratch.iterdir())  # gone with the run
    fine = run(sys.executable, "-c", f"import os; del os.environ['{name}']; {code}", cwd=tmp_path,
               **{**homes, "HOME": str(tmp_path)})  # fmt: skip
    assert fine.stdout.strip() == "", fine.stderr


def test_dvc_runs_outside_git_and_inside(archive):
    assert "no_scm = true" in (archive / ".dvc/config").read_text(encoding="utf-8")
    assert "    no_scm" not in (ROOT / ".dvc/config").read_text(encoding="utf-8").replace("%n    no_scm", "")
    done = run("dvc", "repro", "synthesize", "--dry", cwd=archive, GIT_CEILING_DIRECTORIES=tempfile.gettempdir())
    assert done.returncode == 0, done.stderr


def test_dvc_takes_a_root_that_holds_the_outputs(archive):
    params = yaml.safe_load((archive / "params.yaml").read_text(encoding="utf-8"))
    for root in ("data", "..", "~"):
        params["sets"] = {name: {"manifest": "m.csv", "root": root} for name in ("unlabelled", "labelled")}
        (archive / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        done = run("dvc", "dag", cwd=archive)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_make_runs_in_a_folder_with_blanks(archive):
    done = run("make", "--dry-run", "demo", f"PYTHON={sys.executable}", cwd=archive)
    commands = [line for line in done.stdout.splitlines() if "pip install" in line]
    assert done.returncode == 0
    assert commands
    assert all(line.startswith(".venv/bin/python ") for line in commands)


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("filelock", ["pipeline", "segments", "labelled"], ".[pipeline]"),
        ("praatio", ["pipeline", "segments", "labelled"], ".[pipeline]"),
        ("typer", ["avser", "quick"], ".[all]"),
        ("torch", ["trainer", "predict", "data", "--model", "models"], ".[trainer]"),
        ("torch", ["avser", "trainer", "predict", "data", "--model", "models"], ".[trainer]"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_the_extra_that_brings_it(tmp_path, module, command, extra):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n",
        encoding="utf-8",
    )
    shutil.copy(ROOT / "params.yaml", tmp_path)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run(sys.executable, "-m", *command, cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 2, done.stderr
    assert f"pip install '{extra}'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
