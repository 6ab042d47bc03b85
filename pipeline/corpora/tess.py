"""TESS: two actresses, 200 words in one carrier phrase, seven emotions."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from pipeline.config import Config
from pipeline.corpora.base import (
    AUDIO,
    About,
    Corpus,
    Expected,
    Reading,
    find_files,
    first_of_each,
    nothing_found,
)
from pipeline.manifest.row import ManifestRow

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

    def read(self, root: Path) -> Reading:
        """Return a row an utterance, labelled with the acted emotion."""
        reading = Reading()
        paths = find_files(root, AUDIO, reading)
        codes = {path: match.groups() for path in paths if (match := NAME.fullmatch(PurePosixPath(path).stem))}
        reading.left_out(set(paths) - set(codes), "the name is not TESS's")
        if not codes:
            raise nothing_found("TESS", root, "OAF_back_angry.wav")
        for path in first_of_each(list(codes), reading):
            speaker, word, emotion = codes[path]
            reading.rows.append(
                ManifestRow(
                    clip_id=f"tess_{PurePosixPath(path).stem}",
                    corpus="tess",
                    path=path,
                    speaker=f"{speaker[0].upper()}AF",
                    emotion=_EMOTIONS[emotion.lower()],
                    label_source="acted",
                    sentence=f"Say the word {word.lower()}",
                    language="en",
                )
            )
        return reading

    def expected(self) -> Expected:
        """Return the published counts."""
        return Expected(2800, ("OAF", "YAF"))
