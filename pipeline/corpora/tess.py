"""TESS: two actresses, 200 words in one carrier phrase, seven emotions."""

from __future__ import annotations

import re

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus, Expected
from pipeline.corpora.reading import AUDIO, Reading, stem

# A file or two of the release is named OA_... instead of OAF_...
NAME = re.compile(r"([OY]AF?)_(\w+)_(angry|disgust|fear|happy|neutral|ps|sad)", re.IGNORECASE)
_EMOTIONS = {
    "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness",
    "neutral": "neutral", "ps": "surprise", "sad": "sadness",
}  # fmt: skip


class Tess(Corpus[Config]):
    """Names such as ``OAF_back_angry.wav``; ``ps`` is pleasant surprise. With two speakers, no test set is fair."""

    about = About(
        "TESS, Toronto emotional speech set",
        "https://tspace.library.utoronto.ca/handle/1807/24487",
        "CC BY-NC-ND 4.0",
        "Dupuis & Pichora-Fuller, University of Toronto (2010)",
    )
    name = "TESS"
    example = "OAF_back_angry.wav"

    def fill(self, reading: Reading) -> None:
        """Add a row an utterance, labelled with the acted emotion."""
        codes = reading.match(reading.files(AUDIO), NAME)
        for path, (speaker, word, emotion) in reading.first_of_each(codes).items():
            reading.add(
                "tess",
                stem(path),
                path,
                speaker=f"{speaker[0].upper()}AF",
                emotion=_EMOTIONS[emotion.lower()],
                label_source="acted",
                sentence=f"Say the word {word.lower()}",
                language="en",
            )

    def expected(self) -> Expected:
        """Return the published counts."""
        return Expected(2800, ("OAF", "YAF"))
