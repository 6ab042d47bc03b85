"""``avser check``: everything that is wrong, at once, with file, key and remedy."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from avser.check import check
from tests import ROOT

Make = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a project with two manifests; ``changes`` are dotted keys of params.yaml."""
    monkeypatch.chdir(tmp_path)

    def go(labelled: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
        films = [{"clip_id": f"u{n}", "corpus": "films", "path": f"u{n}.wav", "speaker": f"u{n % 3}"} for n in range(6)]
        spoken = [
            {"clip_id": f"l{n}", "corpus": "speech", "path": f"l{n}.wav", "speaker": f"s{n % 4}",
             "emotion": ("anger", "sadness")[n // 4 % 2], "label_source": "acted"}
            for n in range(16)
        ]  # fmt: skip
        (tmp_path / "media").mkdir(exist_ok=True)
        for name, rows in (("unlabelled", films), ("labelled", spoken if labelled is None else labelled)):
            with (tmp_path / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
            for row in rows:
                (tmp_path / "media" / row["path"]).touch()
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["sets"] = {name: {"manifest": f"{name}.csv", "root": "media"} for name in ("unlabelled", "labelled")}
        for key, value in changes.items():
            section, _, name = key.partition(".")
            params[section][name] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(params))
        return path

    return go


def test_a_sound_project_is_described(project: Make) -> None:
    found = check(project())
    assert found.problems == []
    assert "labelled: 16 clips of 4 speakers (labelled.csv)" in found.facts
    assert "speech: anger 8, sadness 8" in found.facts
    assert "speech: 4 folds, tested speakers 1, 1, 1, 1" in found.facts


def test_the_shipped_parameters_and_recipes_are_sound() -> None:
    assert check(ROOT / "params.yaml").problems == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finetune.epoch": 3}, ["finetune.epoch: unknown key; did you mean 'epochs'?"]),
        ({"faces.max_fbs": 3}, ["faces.max_fbs", "did you mean 'max_fps'?"]),
        ({"finetune.folds": 9}, ["speech: 4 speaker(s) cannot make 9 folds"]),
        ({"finetune.target": "arousal", "finetune.objective": "hard"}, ["column 'arousal'"]),
        ({"sets.labelled": {"manifest": "labelled.csv", "root": "elsewhere"}}, ["elsewhere is not a folder"]),
        ({"sets.labelled": {"manifest": "labeled.csv", "root": "media"}}, ["labeled.csv: there is no such manifest"]),
    ],
)
def test_mistakes_are_named_with_the_remedy(project: Make, changes: dict[str, Any], words: list[str]) -> None:
    problems = "\n".join(check(project(**changes)).problems)
    for word in words:
        assert word in problems


def test_all_mistakes_are_named_at_once(project: Make, tmp_path: Path) -> None:
    rows = [
        {"clip_id": f"l{n}", "corpus": "speech", "path": f"l{n}.wav", "speaker": f"s{n % 4}",
         "emotion": "angry" if n == 3 else "anger", "label_source": "acted"}
        for n in range(8)
    ]  # fmt: skip
    path = project(rows, **{"pretrain.epoch": 2, "audio.sample_rates": 8000})
    (tmp_path / "recipes/cluster").mkdir(parents=True)
    (tmp_path / "recipes/cluster/params.yaml").write_text("mode: [scratch]\n")
    problems = "\n".join(check(path).problems)
    assert "did you mean 'epochs'?" in problems
    assert "did you mean 'sample_rate'?" in problems
    assert "recipes/cluster/params.yaml" in problems
    path = project(rows)
    problems = "\n".join(check(path).problems)
    assert "did you mean 'anger'?" in problems
    assert "recognition needs two classes" in problems


def test_speakers_of_both_manifests_are_a_leak(project: Make) -> None:
    rows = [
        {"clip_id": f"l{n}", "corpus": "films", "path": f"l{n}.wav", "speaker": f"u{n % 4}",
         "emotion": ("anger", "sadness")[n // 4 % 2], "label_source": "acted"}
        for n in range(16)
    ]  # fmt: skip
    found = check(project(rows, **{"pretrain.per_fold": False}))
    assert "films/u0, films/u1, films/u2" in "\n".join(found.problems)
    found = check(project(rows))  # each fold has a pretraining of its own
    assert found.problems == []
    assert any("each fold pretrains without those it tests" in fact for fact in found.facts)
    assert check(project(rows, **{"finetune.allow_pretrain_speakers": True})).problems == []


def test_a_root_without_the_files_is_a_problem_and_one_missing_file_is_not(project: Make, tmp_path: Path) -> None:
    path = project()
    (tmp_path / "media/l3.wav").unlink()
    found = check(path)
    assert found.problems == []
    assert "labelled: 1 of 16 files are missing, e.g. l3.wav" in found.facts
    for file in (tmp_path / "media").glob("l*.wav"):
        file.unlink()
    assert "none of its 16 files is below the root media" in "\n".join(check(path).problems)


def test_the_command_takes_seconds_writes_its_mark_and_ends_with_status_2(project: Make, tmp_path: Path) -> None:
    project()
    command = [sys.executable, "-m", "avser", "check", "--passed", "data/check.json"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    started = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 20
    first = (tmp_path / "data/check.json").read_bytes()
    project(**{"finetune.epochs": 3})
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "data/check.json").read_bytes() == first  # later stages run for their own reasons
    project(**{"finetune.epoch": 3})
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "1 problems:" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_stage_goes_on_where_only_the_manifests_are_not_ready(project: Make, tmp_path: Path) -> None:
    # Regression: films could not be cut before the labelled set had labels.
    rows = [{"clip_id": f"l{n}", "corpus": "films", "path": f"l{n}.wav", "speaker": f"u{n % 3}"} for n in range(6)]
    project(rows)
    command = [sys.executable, "-m", "avser", "check", "--passed", "data/check.json"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning: 1 problems:" in done.stdout
    assert (tmp_path / "data/check.json").is_file()
    by_hand = subprocess.run(command[:-2], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert by_hand.returncode == 2
