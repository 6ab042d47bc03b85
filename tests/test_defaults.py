"""Deleting a line of params.yaml changes no method: the defaults in the code are the values of the shipped file."""

from __future__ import annotations

import pytest

import pipeline.params
import trainer.params
from tests import ROOT


def test_the_pipelines_defaults_are_those_of_the_file():
    shipped = pipeline.params.load_params(ROOT / "params.yaml")
    assert pipeline.params.Params(sets=shipped.sets) == shipped


@pytest.mark.parametrize("section", sorted(set(trainer.params.Params.model_fields) - {"variants"}))  # names: no method
def test_the_trainers_defaults_are_those_of_the_file(section):
    shipped = trainer.params.load_params(ROOT / "params.yaml")
    assert getattr(trainer.params.Params(), section) == getattr(shipped, section)
