"""``avser quick``: the commands of dvc.yaml in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from avser.quick import SMALL, quick, smaller, stage_commands
from pipeline.errors import InputError
from pipeline.params import load_params as load_pipeline
from tests import ROOT
from trainer.params import load_params as load_trainer


def test_the_small_parameters_are_valid_for_both_halves(tmp_path: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(smaller(params, SMALL)))
    assert load_pipeline(path).synthetic.clips_per_speaker == SMALL["synthetic"]["clips_per_speaker"]
    assert load_trainer(path).pretrain.epochs == SMALL["pretrain"]["epochs"]


def test_every_stage_is_a_command_without_placeholders() -> None:
    commands = dict(stage_commands(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]))
    assert commands["audio@labelled"] == "python -m pipeline audio labelled"
    assert commands["segments@unlabelled"] == "python -m pipeline segments unlabelled"
    assert commands["functionals"] == "python -m pipeline functionals labelled"
    assert list(commands)[-2:] == ["report", "final"]
    assert not any("$" in command for command in commands.values())


def test_a_stage_that_fails_is_named_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SMALL, "synthetic", {"emotions": ["joyy"]})
    with pytest.raises(InputError, match=r"failed: .*joyy|failed: .*emotions"):
        quick(tmp_path / "flow")


@pytest.mark.slow
def test_films_to_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    quick(tmp_path / "flow")
    results = pd.read_csv(tmp_path / "flow" / "reports" / "results.csv")
    assert {"scratch", "pretrained", "majority"} <= set(results["mode"])
    assert (tmp_path / "flow" / "reports" / "index.html").is_file()
    assert "scratch" in capfd.readouterr().out
