"""Stage ``acoustics``: frames of features, from the audio table."""

from __future__ import annotations

from pipeline.acoustics import AcousticsExtractor
from pipeline.params import Params
from pipeline.stages.extraction import run_extraction


def run_acoustics(params: Params, name: str) -> None:
    """Compute low-level descriptors, energy and voicing."""
    run_extraction(params, name, "acoustics", AcousticsExtractor(params.acoustics))
