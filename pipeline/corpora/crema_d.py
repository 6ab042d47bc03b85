"""CREMA-D: 91 actors, twelve sentences, six emotions; acted labels and three kinds of crowd-sourced ratings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus, Expected
from pipeline.corpora.reading import AUDIO, VIDEO, Reading, first_few, stem
from pipeline.corpora.tables import read_table
from pipeline.corpora.votes import Rule, label_from_votes, vote_columns
from pipeline.errors import InputError

NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(XX|LO|MD|HI)")
#: What the actor was asked for, as file names spell it.
ACTED = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
#: The columns of the vote table.
LETTERS = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness"}
_INTENSITY = {"XX": None, "LO": 1.0, "MD": 2.0, "HI": 3.0}
_SENTENCES = {
    "DFA": "Don't forget a jacket",
    "IEO": "It's eleven o'clock",
    "IOM": "I'm on my way to the meeting",
    "ITH": "I think I have a doctor's appointment",
    "ITS": "I think I've seen this before",
    "IWL": "I would like a new alarm clock",
    "IWW": "I wonder what this is about",
    "MTI": "Maybe tomorrow it will be cold",
    "TAI": "The airplane is almost full",
    "TIE": "That is exactly what happened",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
ACTORS = tuple(str(number) for number in range(1001, 1092))
#: The blocks of the vote table, numbered by the hundred thousands of its row ids (queryType in the corpus's README).
BLOCKS = {"voice": 1, "face": 2, "audiovisual": 3}
# Speaker-disjoint sessions of EMO-SUPERB and of Chou's thesis, as first and last actor.
SESSIONS = {
    "S1": (1037, 1054), "S2": (1001, 1018), "S3": (1073, 1091), "S4": (1055, 1072), "S5": (1019, 1036),
}  # fmt: skip
#: Known bad items: no sound at all; broken picture.
SILENT = frozenset({"1076_MTI_SAD_XX"})
BROKEN_FILMS = frozenset({"1007_ITH_NEU_XX", "1064_IEO_DIS_MD"})
#: Misnamed in copies from before 2022.
MISNAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}
_FOLDERS = {"wav": ("AudioWAV", AUDIO), "video": ("VideoFlash", VIDEO), "mp3": ("AudioMP3", AUDIO)}


class CremaDOptions(Config):
    """Options of ``crema_d``. The defaults are those of the result that SCIENCE.md compares with."""

    labels: Literal["acted", "voice", "face", "audiovisual"] = Field(
        "voice", description="acted emotion, or ratings of voice, face or audiovisual clips"
    )
    rule: Rule = Field("majority", description="majority, plurality or all_inclusive; for ratings")
    seed: int = Field(0, description="seed of the draws that break ties under all_inclusive")
    media: Literal["auto", "wav", "video", "mp3"] = Field(
        "auto", description="AudioWAV, VideoFlash or AudioMP3; auto: the first of these that holds files"
    )
    keep_bad: bool = Field(False, description="keep the known bad items")


def clip_name(path: str) -> str:
    """Return the published name of the clip in a file.

    >>> clip_name("AudioWAV/1040_ITH_SAD_X.wav")
    '1040_ITH_SAD_XX'
    """
    return MISNAMED.get(stem(path), stem(path))


def session(actor: int) -> str:
    """Return the session of an actor, used as fold.

    >>> session(1001), session(1091)
    ('S2', 'S3')
    """
    return next((name for name, (first, last) in SESSIONS.items() if first <= actor <= last), "")


class Rated(NamedTuple):
    """The ratings of a clip: votes by emotion, and how strong they found it (mean of 0 to 100)."""

    votes: dict[str, float]
    level: float | None


def read_ratings(root: Path, source: str) -> dict[str, Rated]:
    """Return clip -> its ratings, from ``processedResults/tabulatedVotes.csv``.

    Args:
        root: the corpus's repository.
        source: voice, face or audiovisual.

    Raises:
        InputError: the table is missing or not as published.
    """
    path = root / "processedResults" / "tabulatedVotes.csv"
    if not path.is_file():
        raise InputError(
            f"{path} is missing: labels={source} needs CREMA-D's vote table; give --root its repository, or use "
            "--option labels=acted"
        )
    rated: dict[str, Rated] = {}
    for record in read_table(path).rows.values():
        try:
            if int(record[""]) // 100000 == BLOCKS[source]:
                votes = {name: float(record[letter]) for letter, name in LETTERS.items()}
                rated[record["fileName"]] = Rated(votes, float(record["meanEmoResp"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is not CREMA-D's vote table (cannot read {error}); fetch it anew") from None
    if not rated:
        raise InputError(f"{path} holds no ratings of {source}; fetch it anew")
    return rated


class CremaD(Corpus[CremaDOptions]):
    """The corpus's repository as cloned: ``AudioWAV``, ``VideoFlash``, ``AudioMP3``, ``processedResults``."""

    about = About(
        "CREMA-D, crowd-sourced emotional multimodal actors dataset",
        "https://github.com/CheyneyComputerScience/CREMA-D",
        "Open Database License 1.0",
        "Cao, Cooper, Keutmann, Gur, Nenkova & Verma, IEEE Trans. Affective Computing 5(4) (2014)",
    )
    name = "CREMA-D"
    example = "AudioWAV/1001_DFA_ANG_XX.wav"
    Options = CremaDOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a clip. Clips without a label under the rule keep their votes and have no emotion."""
        options = self.options
        folder, paths = self._media(reading)
        codes = reading.match(paths, NAME, text=clip_name)
        ratings = {} if options.labels == "acted" else read_ratings(reading.root, options.labels)
        bad = set() if options.keep_bad else SILENT | (BROKEN_FILMS if folder == "VideoFlash" else frozenset())
        dropped, unrated = [], []
        for path, (actor, sentence, acted, intensity) in reading.first_of_each(codes, clip_name).items():
            clip = clip_name(path)
            if clip in bad:
                dropped.append(clip)
                continue
            columns: dict[str, Any] = {}
            emotion = ACTED[acted]
            if options.labels != "acted":
                votes, level = ratings.get(clip, Rated({}, None))
                columns = vote_columns(votes) | {"level": level}
                emotion = label_from_votes(votes, options.rule, seed=f"{options.seed}:{clip}")
                unrated += [] if emotion else [clip]
            reading.add(
                "crema_d",
                clip,
                path,
                speaker=actor,
                fold=session(int(actor)),
                emotion=emotion,
                label_source=options.labels,
                label_rule="" if options.labels == "acted" else options.rule,
                intensity=_INTENSITY[intensity],
                sentence=_SENTENCES.get(sentence, sentence),
                language="en",
                **columns,
            )
        reading.left_out(dropped, "known bad: 1076_MTI_SAD_XX is silent, two films are broken")
        reading.note(len(unrated), f"clips have votes but no emotion: no {options.rule} ({first_few(unrated)})")

    def _media(self, reading: Reading) -> tuple[str, list[str]]:
        """Return the folder to read and the files in it."""
        if self.options.media != "auto":
            folder, suffixes = _FOLDERS[self.options.media]
            return folder, reading.files(suffixes, below=folder)
        for folder, suffixes in _FOLDERS.values():
            if (reading.root / folder).is_dir() and (paths := reading.files(suffixes, below=folder)):
                return folder, paths
        raise reading.nothing_found()

    def expected(self) -> Expected:
        """Return the counts of the whole corpus, less the bad items that are left out."""
        bad = 0 if self.options.keep_bad else len(SILENT) + (len(BROKEN_FILMS) if self.options.media == "video" else 0)
        return Expected(7442 - bad, ACTORS)
