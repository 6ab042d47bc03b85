"""The calls in Python, and the completion of the shell."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import avser
from pipeline.engine.tables import read_metadata
from pipeline.errors import InputError, Quarantined
from pipeline.params import Params
from pipeline.stages.shards import run_shards
from tests.avser.conftest import Project


def test_features_are_those_of_the_table(project: Project) -> None:
    table = pd.read_parquet(project.folder / "data/acoustics/labelled").set_index("segment_id")
    found = avser.extract(project.folder / "b_05.wav", model=project.model("fold 1"))
    np.testing.assert_array_equal(found.to_numpy(), table.loc["b_05#000", "lld"].reshape(found.shape))
    about = read_metadata(project.folder / "data/shards/labelled")
    assert list(found.columns) == about["feature_names"]
    assert found.index.name == "time"
    np.testing.assert_allclose(found.index[:2], [0.016, 0.032])  # middles of frames of 32 ms every 16
    part = avser.extract(project.folder / "b_05.wav", model=project.model("fold 1"), start=0.5, end=1.0)
    assert 0.5 < part.index[0] < part.index[-1] < 1.0


def test_features_without_a_model_are_those_of_the_parameters_here(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = project.folder / "a_00.wav"
    assert avser.extract(clip).shape[1] == 130  # the defaults
    sets = "{manifest: m.csv, root: .}"
    Path("params.yaml").write_text(
        f"sets: {{unlabelled: {sets}, labelled: {sets}}}\nacoustics: {{features: egemaps_lld, frame_step: 0.01}}\n"
    )
    found = avser.extract(clip)
    assert found.shape[1] == 25
    np.testing.assert_allclose(np.diff(found.index), 0.01)


def test_what_cannot_be_used_is_an_error_that_says_why(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(Quarantined, match="is empty"):
        avser.extract(tmp_path / "empty.wav")
    with pytest.raises(InputError, match=r"is no model folder: config\.json is missing"):
        avser.extract(project.folder / "a_00.wav", model=tmp_path)


def test_how_features_were_made_is_read_from_the_tables_and_not_from_todays_parameters(project: Project) -> None:
    chosen = {"manifest": project.manifest, "root": project.folder}
    other = {"sets": {"unlabelled": chosen, "labelled": chosen}, "segments": {"max_seconds": 5.0},
             "acoustics": {"frame_step": 0.01, "logmel": True}, "audio": {"sample_rate": 8000}}  # fmt: skip
    shards = project.folder / "data/shards/labelled"
    before = read_metadata(shards)
    with contextlib.chdir(project.folder):
        run_shards(Params.model_validate(other), "labelled")
    assert read_metadata(shards) == before
    assert before["front_end"]["segments"]["max_seconds"] == 11.0
    assert before["front_end"]["acoustics"] == {"features": "compare_lld", "frame_size": 0.032, "frame_step": 0.016}


def complete(words: str) -> list[str]:
    """Return what the shell would be offered."""
    asked = {"_AVSER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    code = "import sys; sys.argv = ['avser']; from avser.__main__ import main; main()"
    environment = {**os.environ, **asked}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout.split()


def test_the_shell_completes_commands_and_options() -> None:
    assert complete("avser pred") == ["predict"]
    assert complete("avser predict --mod") == ["--model"]
    assert complete("avser trainer fine") == ["finetune"]
