"""IEMOCAP: ten actors in five dyadic sessions, scripted and improvised; rated from film and sound."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus, Expected
from pipeline.corpora.reading import Reading, one_line, stem
from pipeline.corpora.votes import SPELLINGS, vote_columns
from pipeline.engine.names import read_text

# In Ses01F_impro01_M000, "F" is who wore the markers; the turn's own letter (M) says who speaks.
NAME = re.compile(r"Ses0([1-5])[FM]_(?:impro|script)\w+?_([FM])(?:XX)?\d+")
_SUMMARY = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\w+)\t(\w+)\t\[([\d.]+), ([\d.]+), ([\d.]+)\]")
_TURN_TEXT = re.compile(r"(\w+) \[[\d.]+-[\d.]+\]:(.*)")
_OFFERED = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
SPEAKERS = tuple(f"Ses0{number}{sex}" for number in range(1, 6) for sex in "FM")


class IemocapOptions(Config):
    """Options of ``iemocap``."""

    excited: bool = Field(True, description="count excited as happiness, as most studies do; else as other")


class Iemocap(Corpus[IemocapOptions]):
    """``Session1`` ... ``Session5`` with ``sentences/wav``, ``dialog/EmoEvaluation`` and ``dialog/transcriptions``."""

    about = About(
        "IEMOCAP, interactive emotional dyadic motion capture database",
        "https://sail.usc.edu/iemocap",
        "release form of the University of Southern California; research use",
        "Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee & Narayanan, Lang. Resources & Evaluation 42 (2008)",
    )
    name = "IEMOCAP"
    example = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    Options = IemocapOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a turn; fold is the session; attributes are means on a scale of 1 to 5."""
        # The release has wav files of whole dialogues and of turns; the name marks a turn.
        codes = reading.match(reading.files({".wav"}), NAME, unmatched="")
        labels, votes = self._evaluations(reading)
        texts = _texts(reading)
        unlabelled = 0
        for path, (number, sex) in reading.first_of_each(codes).items():
            turn = stem(path)
            unlabelled += turn not in labels
            reading.add(
                "iemocap",
                turn,
                path,
                speaker=f"Ses0{number}{sex}",
                fold=f"session{number}",
                label_source="audiovisual" if turn in labels else "",
                label_rule="majority" if turn in labels else "",
                sentence=texts.get(turn, ""),
                language="en",
                **labels.get(turn, {}),
                **vote_columns(votes.get(turn, {})),
            )
        reading.note(unlabelled, "turns are in no Session?/dialog/EmoEvaluation/*.txt: unlabelled")

    def _emotion(self, code: str) -> str:
        lowered = code.strip().lower()
        if lowered in ("exc", "excited"):
            return "happiness" if self.options.excited else ""
        return SPELLINGS.get(lowered, "")  # frustrated, other, no agreement (xxx): no class of the vocabulary

    def _evaluations(self, reading: Reading) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, float]]]:
        """Return turn -> label columns, and turn -> votes of the raters (the actors' own ratings left aside)."""
        labels: dict[str, dict[str, Any]] = {}
        votes: dict[str, dict[str, float]] = {}
        for lines in _sheets(reading, "EmoEvaluation"):
            turn = ""
            for line in lines:
                if match := _SUMMARY.match(line):
                    turn, code, valence, arousal, dominance = match.groups()
                    scale = {"valence": float(valence), "arousal": float(arousal), "dominance": float(dominance)}
                    labels[turn] = {"emotion": self._emotion(code), **scale}
                    votes[turn] = {**dict.fromkeys(_OFFERED, 0.0), "other": 0.0}
                elif turn and (rating := re.match(r"C-E\w*:\s*(.*)", line)):
                    # A rater may name two emotions; the first is the main one.
                    name = self._emotion(rating[1].split(";")[0])
                    votes[turn][name if name in _OFFERED else "other"] += 1
        return labels, votes

    def expected(self) -> Expected:
        """Return the published counts."""
        return Expected(10039, SPEAKERS)


def _sheets(reading: Reading, folder: str) -> Iterator[list[str]]:
    """Yield the lines of every text file of a dialogue in a folder of this name."""
    for path in map(PurePosixPath, reading.files({".txt"})):
        if path.parent.name == folder and path.name.startswith("Ses"):
            yield read_text(reading.root / path).splitlines()


def _texts(reading: Reading) -> dict[str, str]:
    texts: dict[str, str] = {}
    for lines in _sheets(reading, "transcriptions"):
        for line in lines:
            if match := _TURN_TEXT.match(line):
                texts[match[1]] = one_line(match[2])
    return texts
