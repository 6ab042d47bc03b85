"""Stage ``faces``: the face in every segment."""

from __future__ import annotations

from pipeline.faces.extractor import FacesExtractor
from pipeline.params import Params
from pipeline.stages.extraction import run_extraction


def run_faces(params: Params, name: str) -> None:
    """Find the face in every segment: landmarks, pose, action units."""
    run_extraction(params, name, "faces", FacesExtractor(params.faces))
