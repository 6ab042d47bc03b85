"""SAVEE: four male British actors, seven emotions, 15 sentences each and 30 neutral ones."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.base import (
    AUDIO,
    VIDEO,
    About,
    Corpus,
    Expected,
    Reading,
    find_files,
    first_of_each,
    nothing_found,
)
from pipeline.manifest.row import ManifestRow

SPEAKERS = ("DC", "JE", "JK", "KL")
# The speaker is the folder (DC/sa01.wav) or a prefix of the name (DC_sa01.wav), as copies differ.
NAME = re.compile(r"(?:(DC|JE|JK|KL)[_/]?)(sa|su|a|d|f|h|n)(\d\d)")
_EMOTIONS = {
    "a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral", "sa": "sadness", "su": "surprise",
}  # fmt: skip


class SaveeOptions(Config):
    """Options of ``savee``."""

    media: Literal["audio", "video"] = Field("audio", description="which files: audio or video")


class Savee(Corpus[SaveeOptions]):
    """``AudioData/DC/sa01.wav``, ``AudioVisualClip/DC/sa01.avi`` or ``ALL/DC_sa01.wav``."""

    about = About(
        "SAVEE, Surrey audio-visual expressed emotion",
        "http://kahlan.eps.surrey.ac.uk/savee",
        "free for research after registration",
        "Haq & Jackson, in Machine Audition (2010)",
    )
    Options = SaveeOptions

    def read(self, root: Path) -> Reading:
        """Return a row an utterance, labelled with the acted emotion."""
        reading = Reading()
        paths = find_files(root, AUDIO if self.options.media == "audio" else VIDEO, reading)
        codes = {path: code for path in paths if (code := _code(path, root.resolve().name))}
        reading.left_out(set(paths) - set(codes), "the name is not SAVEE's")
        if not codes:
            raise nothing_found("SAVEE", root, "AudioData/DC/sa01.wav or ALL/DC_sa01.wav")
        for path in first_of_each(list(codes), reading, key=lambda path: "".join(codes[path])):
            speaker, emotion, number = codes[path]
            reading.rows.append(
                ManifestRow(
                    clip_id=f"savee_{speaker}_{emotion}{number}",
                    corpus="savee",
                    path=path,
                    speaker=speaker,
                    emotion=_EMOTIONS[emotion],
                    label_source="acted",
                    language="en",
                )
            )
        return reading

    def expected(self) -> Expected:
        """Return the published counts."""
        return Expected(480, SPEAKERS)


def _code(path: str, root_name: str) -> tuple[str, str, str] | None:
    pure = PurePosixPath(path)
    folder = pure.parent.name or root_name
    match = NAME.fullmatch(pure.stem) or NAME.fullmatch(f"{folder}/{pure.stem}")
    return (match[1], match[2], match[3]) if match else None
