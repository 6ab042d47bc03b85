"""The front door: both halves behind one command, and a start that costs no second."""

from __future__ import annotations

import subprocess
import sys

import pytest

import avser


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "avser", *arguments], capture_output=True, text=True)


def test_version() -> None:
    assert run("--version").stdout == f"avser {avser.__version__}\n"


@pytest.mark.parametrize(("half", "command"), [("pipeline", "segments"), ("trainer", "finetune")])
def test_both_halves_are_reached(half: str, command: str) -> None:
    found = run(half, "--help")
    assert found.returncode == 0
    assert command in found.stdout


def test_a_mistake_is_one_line_and_status_2() -> None:
    found = run("trainer", "predict", "nowhere", "--model", "nowhere")
    assert found.returncode == 2
    assert "Traceback" not in found.stderr


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "mediapipe", "opensmile")
    code = f"import sys; import avser, avser.cli; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
