"""An aggregator and an objective of one's own, by the words of the pages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests import ROOT
from tests.trainer.conftest import labelled_rows
from tests.trainer.recipes.comparison.conftest import settings, with_votes
from trainer.errors import InputError
from trainer.params import Params


def example(page: str) -> str:
    """The first Python block of a page of docs, a file whose path is its first line."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0]


def edit(path: Path, line: str, *changes: tuple[str, str]) -> None:
    """Add a line after the first import of a file and make further changes of the text."""
    text = path.read_text().replace("annotations\n", f"annotations\n{line}\n", 1)
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    path.write_text(text)


def test_an_aggregator_and_a_loss_of_ones_own_are_what_the_pages_say(
    make_shards: Callable[..., Path], tiny: Callable[..., Params], tmp_path: Path
) -> None:
    """In a copy of the trainer: the file, its name in the dictionary and in the type; then the command."""
    code = tmp_path / "code"
    shutil.copytree(ROOT / "trainer", code / "trainer", ignore=shutil.ignore_patterns("__pycache__"))
    for page in ("sequence.md", "penalisation.md"):
        content = example(page)
        (code / content.splitlines()[0].removeprefix("# ")).write_text(content)
    edit(
        code / "trainer/models/aggregators.py",
        "from trainer.models.peak import Peak",
        (r'("self_attention": \w+)', r'\1, "peak": Peak'),
    )
    edit(
        code / "trainer/objectives/__init__.py",
        "from trainer.objectives.soft_ce import SoftCrossEntropy",
        (r'("attribute": \w+)', r'\1, "soft_ce": SoftCrossEntropy'),
    )
    edit(code / "trainer/params/training.py", "", (r'Literal\[([^\]]*"self_attention")', r'Literal[\1, "peak"'))
    edit(code / "trainer/params/tuning.py", "", (r'Literal\[([^\]]*"attribute")', r'Literal[\1, "soft_ce"'))
    params, recipe = settings(tiny, sequence={"systems": {"peak": {}}})
    raw = params.model_dump(mode="json")
    raw["finetune"] |= {"objective": "soft_ce", "target": "votes", "seeds": [0]}
    raw["encoder"]["aggregator"] = "peak"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    shards = make_shards("labelled", with_votes(labelled_rows()))

    def call(*arguments: object) -> None:
        command = [sys.executable, "-m", "trainer", *map(str, arguments), "--params", str(tmp_path / "params.yaml")]
        environment = {**os.environ, "PYTHONPATH": str(code)}
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr

    call("sequence", "--shards", shards, "--recipe", tmp_path / "recipe.yaml", "--workers", 1)
    assert pd.read_parquet(tmp_path / "reports/sequence.parquet")["kl_mean"].notna().all()
    index = json.loads((tmp_path / "models/sequence/index.json").read_text())
    folder = tmp_path / "models/sequence" / index[0]["folder"]
    assert json.loads((folder / "config.json").read_text())["params"]["encoder"]["aggregator"] == "peak"
    call("predict", shards, "--model", folder)
    assert len(pd.read_parquet(tmp_path / "predictions.parquet")) == len(labelled_rows())
    with pytest.raises(InputError, match=r"finetune\.objective: .*'hard', 'soft', 'multilabel' or 'attribute'"):
        tiny(finetune={"objective": "sort"})
