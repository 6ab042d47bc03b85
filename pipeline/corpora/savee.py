"""SAVEE: four male British actors, seven emotions, 15 sentences each and 30 neutral ones."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pipeline.corpora.base import About, AudioOptions, Corpus, Expected
from pipeline.corpora.reading import MEDIA, Reading

SPEAKERS = ("DC", "JE", "JK", "KL")
# The speaker is the folder (DC/sa01.wav) or a prefix of the name (DC_sa01.wav), as copies differ.
NAME = re.compile(r"(?:.*/)?(DC|JE|JK|KL)[_/]?(sa|su|a|d|f|h|n)(\d\d)")
_EMOTIONS = {
    "a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral", "sa": "sadness", "su": "surprise",
}  # fmt: skip


class Savee(Corpus[AudioOptions]):
    """``AudioData/DC/sa01.wav``, ``AudioVisualClip/DC/sa01.avi`` or ``ALL/DC_sa01.wav``."""

    about = About(
        "SAVEE, Surrey audio-visual expressed emotion",
        "http://kahlan.eps.surrey.ac.uk/savee",
        "free for research after registration",
        "Haq & Jackson, in Machine Audition (2010)",
    )
    name = "SAVEE"
    example = "AudioData/DC/sa01.wav or ALL/DC_sa01.wav"
    Options = AudioOptions

    def fill(self, reading: Reading) -> None:
        """Add a row an utterance, labelled with the acted emotion."""
        here = reading.root.resolve().name
        paths = reading.files(MEDIA[self.options.media])
        codes = reading.match(paths, NAME, text=lambda path: f"{here}/{PurePosixPath(path).with_suffix('')}")
        for path, (speaker, emotion, number) in reading.first_of_each(codes, lambda path: "".join(codes[path])).items():
            reading.add(
                "savee",
                f"{speaker}_{emotion}{number}",
                path,
                speaker=speaker,
                emotion=_EMOTIONS[emotion],
                label_source="acted",
                language="en",
            )

    def expected(self) -> Expected:
        """Return the published counts."""
        return Expected(480, SPEAKERS)
