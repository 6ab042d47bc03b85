"""RAVDESS: 24 actors speak and sing two statements with eight emotions at two intensities."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus, Expected
from pipeline.corpora.reading import MEDIA, Reading, stem
from pipeline.errors import InputError

# modality - channel - emotion - intensity - statement - repetition - actor
NAME = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
_MODALITIES = {"audiovisual": "01", "video": "02", "audio": "03"}
_CHANNELS = {"speech": "01", "song": "02"}
_EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happiness", "04": "sadness",
    "05": "anger", "06": "fear", "07": "disgust", "08": "surprise",
}  # fmt: skip
_STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
ACTORS = tuple(f"{number:02d}" for number in range(1, 25))


class RavdessOptions(Config):
    """Options of ``ravdess``."""

    channel: Literal["speech", "song", "both"] = Field("speech", description="speech, song or both")
    modality: Literal["auto", "audio", "audiovisual", "video"] = Field(
        "auto", description="audio (03), audiovisual (01), video without sound (02); auto: the first of these found"
    )


class Ravdess(Corpus[RavdessOptions]):
    """Names such as ``03-01-06-01-02-01-12.wav``, in folders such as ``Actor_12``."""

    about = About(
        "RAVDESS, Ryerson audio-visual database of emotional speech and song",
        "https://zenodo.org/records/1188976",
        "CC BY-NC-SA 4.0",
        "Livingstone & Russo, PLoS ONE 13(5) e0196391 (2018)",
    )
    name = "RAVDESS"
    example = "Actor_01/03-01-06-01-02-01-01.wav"
    Options = RavdessOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a recording, labelled with the acted emotion; ``intensity`` is 1 normal, 2 strong."""
        codes = reading.match(reading.files(MEDIA["all"]), NAME)
        channels = set(_CHANNELS.values()) if self.options.channel == "both" else {_CHANNELS[self.options.channel]}
        there = Counter(code[0] for code in codes.values() if code[1] in channels)
        modality = self._modality(there)
        chosen = {path: code for path, code in codes.items() if code[0] == modality and code[1] in channels}
        if not chosen:
            raise InputError(
                f"RAVDESS below {reading.root}: none of {len(codes)} files is {self.options.channel} in modality "
                f"{self.options.modality}; choose with --option channel=... and --option modality=..."
            )
        reading.left_out(codes.keys() - chosen.keys(), "other modality or channel; see options modality and channel")
        for path, (_, _, emotion, intensity, statement, _, actor) in reading.first_of_each(chosen).items():
            reading.add(
                "ravdess",
                stem(path),
                path,
                speaker=actor,
                emotion=_EMOTIONS[emotion],
                label_source="acted",
                intensity=float(intensity),
                sentence=_STATEMENTS[statement],
                language="en",
            )

    def _modality(self, there: Counter[str]) -> str:
        if self.options.modality != "auto":
            return _MODALITIES[self.options.modality]
        return next((code for code in ("03", "01", "02") if there[code]), "03")

    def expected(self) -> Expected:
        """Return 60 spoken and 44 sung recordings an actor; actor 18 did not sing."""
        spoken, sung = 24 * 60, 23 * 44
        if self.options.channel == "song":
            return Expected(sung, tuple(actor for actor in ACTORS if actor != "18"))
        return Expected(spoken + (sung if self.options.channel == "both" else 0), ACTORS)
