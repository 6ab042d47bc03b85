"""A mistake in what the user gave is a message and exit status 2, as in the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

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
    recipe.write_text("{}")
    assert "no shards" in refused(*arguments)


def test_a_wrong_key_or_a_missing_file_of_a_recipe_leaves_with_2(project: Path) -> None:
    assert "no parameter file recipes/cluster/params.yaml" in refused("cluster")
    (project / "r.yaml").write_text("clusters: 3")
    assert "r.yaml:\n  clusters: unknown key" in refused("cluster", "--recipe", "r.yaml")
