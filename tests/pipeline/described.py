"""What the tables of sound say of themselves, as the stages write it, for tests that write tables by hand."""

from __future__ import annotations

from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
from pipeline.audio import AudioConfig, AudioExtractor
from pipeline.engine.identity import identity
from pipeline.engine.places import describe
from pipeline.segments import SegmentsConfig, SegmentsExtractor

SEGMENTS = describe("segments", SegmentsExtractor(SegmentsConfig()))
AUDIO = describe("audio", AudioExtractor(AudioConfig()))
ACOUSTICS = {"identity": identity(AcousticsExtractor(AcousticsConfig()))}
