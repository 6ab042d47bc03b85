"""The page of named pretraining settings says what ``params.yaml`` says."""

from __future__ import annotations

import re

import yaml

from tests import ROOT
from trainer.params import load_params, parse_params
from trainer.params.changes import with_recipe


def test_recipes_on_the_page_are_those_of_params_yaml() -> None:
    """Every ``dvc exp run`` of docs/recipes.md, with its -S changes laid over params.yaml."""
    root = ROOT
    page = (root / "docs" / "recipes.md").read_text().replace("\\\n", " ")
    found = {}
    for name, changes in re.findall(r"dvc exp run -n (\w+)(.*)", page):
        raw = yaml.safe_load((root / "params.yaml").read_text())
        for quoted, plain in re.findall(r"-S (?:'([^']+)'|(\S+))", changes):
            keys, value = (quoted or plain).split("=", 1)
            *sections, key = keys.split(".")
            place = raw
            for section in sections:
                place = place[section]
            assert key in place
            place[key] = yaml.safe_load(value)
        found[name] = parse_params(raw)
    shipped = load_params(root / "params.yaml")
    assert set(found) == set(shipped.recipes)
    for name, params in found.items():
        assert params == with_recipe(shipped, name), name
    assert found["dense"] == shipped  # the default
