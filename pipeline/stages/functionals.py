"""Stage ``functionals``: a vector a segment and feature set, from the audio table."""

from __future__ import annotations

from pipeline.functionals import FunctionalsExtractor
from pipeline.params import Params
from pipeline.stages.extraction import run_extraction


def run_functionals(params: Params, name: str) -> None:
    """Sum up every segment in one vector a feature set."""
    run_extraction(params, name, "functionals", FunctionalsExtractor(params.functionals))
