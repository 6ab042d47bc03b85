"""Acoustic features a frame: low-level descriptors, energy, voicing, and a mel spectrogram if wanted."""

from pipeline.acoustics.extractor import AcousticsConfig, AcousticsExtractor

__all__ = ["AcousticsConfig", "AcousticsExtractor"]
