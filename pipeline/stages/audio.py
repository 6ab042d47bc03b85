"""Stage ``audio``: every segment's sound."""

from __future__ import annotations

from pipeline.audio import AudioExtractor
from pipeline.params import Params
from pipeline.stages.extraction import run_extraction


def run_audio(params: Params, name: str) -> None:
    """Decode every segment to 16 kHz mono FLAC."""
    run_extraction(params, name, "audio", AudioExtractor(params.audio))
