"""Any folder of films or sound files, however deep; their folders or names may say the emotion."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, field_validator

from pipeline.config import Config
from pipeline.corpora.base import About, Corpus
from pipeline.corpora.reading import MEDIA, Reading, one_line, suffix
from pipeline.corpora.spelling import OPTION, note_strange, spellings
from pipeline.engine.names import canonical
from pipeline.manifest.row import LABEL_SOURCES, suggestion


class FolderOptions(Config):
    """Options of ``folder``."""

    corpus: str = Field("", description="name of the corpus; default: the folder's name")
    media: Literal["all", "video", "audio"] = Field("all", description="which files: all, video or audio")
    speaker: Literal["parent", "clip"] = Field(
        "parent", description="parent: the folder a file lies in is its speaker; clip: each file is its own"
    )
    speaker_pattern: str = Field(
        "", description="regular expression with a group, searched in the relative path, instead of speaker"
    )
    emotion: Literal["", "parent"] = Field(
        "", description="parent: the folder a file lies in is its emotion, and the one above its speaker"
    )
    emotion_pattern: str = Field(
        "", description="regular expression with a group, searched in the relative path, that gives the emotion"
    )
    emotions: str = Field("", description=OPTION)
    label_source: str = Field("", description="where the labels come from: acted, voice, face or audiovisual")
    language: str = Field("", description="language code of all clips")

    @field_validator("label_source")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and value not in LABEL_SOURCES:
            raise ValueError(f"{value!r} is not one of {', '.join(LABEL_SOURCES)}{suggestion(value, LABEL_SOURCES)}")
        return value

    @field_validator("speaker_pattern", "emotion_pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            groups = re.compile(value := unicodedata.normalize("NFC", value)).groups
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression ({error})") from None
        if value and groups < 1:
            raise ValueError(f"{value!r} has no group; put the part that counts in round brackets")
        return value


class Folder(Corpus[FolderOptions]):
    """Films or sound files in any folders. A file directly in the root is its own speaker."""

    about = About("a plain folder", "your own files", "yours", "")
    name = "media"
    example = "*.mp4, *.wav"
    Options = FolderOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a file, labelled where the options say how."""
        options = self.options
        endings = MEDIA[options.media]
        stems = {path: canonical(str(PurePosixPath(path).with_suffix(""))) for path in reading.files(endings)}
        others = Counter(suffix(path) or "none" for path in reading.listing().files if suffix(path) not in endings)
        listed = ", ".join(f"{name} {number}" for name, number in others.most_common(8))
        reading.note(others.total(), f"left out: not among the endings of {options.media} media ({listed})")
        if not stems:
            raise reading.nothing_found()
        corpus = one_line(options.corpus or reading.root.resolve().name or "folder")
        count = Counter(stems.values())
        spelt = spellings(options.emotions)
        strange: Counter[str] = Counter()
        nameless = wordless = 0
        for path, stem in stems.items():
            name = path if count[stem] > 1 else stem  # a.mp4 beside a.wav: the suffix keeps them distinct
            speaker = self._speaker(path)
            nameless += not speaker
            word = self._emotion(path)
            wordless += not word
            strange[word] += bool(word) and word not in spelt
            emotion = spelt.get(word, "")
            reading.add_row(
                f"{corpus}/{name}",
                corpus=corpus,
                path=path,
                speaker=speaker or f"clip:{name}",
                language=options.language,
                emotion=emotion,
                label_source=options.label_source if emotion else "",
            )
        note_strange(reading, strange)
        if options.emotion or options.emotion_pattern:
            reading.note(wordless, "clips are unlabelled, because neither folder nor name gives an emotion")
            reading.note(
                nameless,
                "of these clips nothing says who speaks: one voice may be heard in training and in testing, and scores "
                "will be too good; name the speakers with --option speaker_pattern=REGEX",
            )
        reading.note(nameless, "clips count as a speaker each, because nothing says who speaks in them")

    def _speaker(self, path: str) -> str:
        if self.options.speaker_pattern:
            return _found(self.options.speaker_pattern, path)
        folder = PurePosixPath(path).parent
        if self.options.emotion == "parent":
            folder = folder.parent
        return str(folder) if self.options.speaker == "parent" and folder.parts else ""

    def _emotion(self, path: str) -> str:
        """Return the word that stands for the emotion, lower case, or nothing."""
        if self.options.emotion_pattern:
            return _found(self.options.emotion_pattern, path).lower()
        folder = PurePosixPath(path).parent
        return canonical(folder.name).lower() if self.options.emotion == "parent" else ""


def _found(pattern: str, path: str) -> str:
    match = re.search(pattern, unicodedata.normalize("NFC", path))
    return (match[1] or "").strip() if match else ""
