"""Any folder of films or sound files, however deep: unlabelled clips."""

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
from pipeline.engine.names import canonical


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
    language: str = Field("", description="language code of all clips")

    @field_validator("speaker_pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            groups = re.compile(value := unicodedata.normalize("NFC", value)).groups
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression ({error})") from None
        if value and groups < 1:
            raise ValueError(f"{value!r} has no group; put the speaker's part in round brackets")
        return value


class Folder(Corpus[FolderOptions]):
    """Films or sound files in any folders. A file directly in the root is its own speaker."""

    about = About("a plain folder", "your own files", "yours", "")
    name = "media"
    example = "*.mp4, *.wav"
    Options = FolderOptions

    def fill(self, reading: Reading) -> None:
        """Add a row a file, unlabelled."""
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
        nameless = 0
        for path, stem in stems.items():
            name = path if count[stem] > 1 else stem  # a.mp4 beside a.wav: the suffix keeps them distinct
            speaker = self._speaker(path)
            nameless += not speaker
            reading.add_row(
                f"{corpus}/{name}",
                corpus=corpus,
                path=path,
                speaker=speaker or f"clip:{name}",
                language=options.language,
            )
        reading.note(nameless, "clips count as a speaker each, because nothing says who speaks in them")

    def _speaker(self, path: str) -> str:
        if self.options.speaker_pattern:
            match = re.search(self.options.speaker_pattern, unicodedata.normalize("NFC", path))
            return (match[1] or "").strip() if match else ""
        folder = PurePosixPath(path).parent
        return str(folder) if self.options.speaker == "parent" and folder.parts else ""
