"""What every corpus reader is: its interface, where the corpus comes from, and the options that many share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

from pydantic import Field

from pipeline.config import Config
from pipeline.corpora.reading import Reading

O = TypeVar("O", bound=Config)  # noqa: E741 - the options of one corpus


@dataclass(frozen=True)
class About:
    """Where a corpus comes from, on what terms, and what to cite."""

    title: str
    source: str
    terms: str
    cite: str


@dataclass(frozen=True)
class Expected:
    """What was published: number of clips, and the speakers by name or by number; None where it varies."""

    clips: int | None = None
    speakers: Collection[str] | int | None = None


class VideoOptions(Config):
    """Options of a corpus of films, whose sound may lie beside them as files of its own."""

    media: Literal["video", "audio"] = Field("video", description="which files: video or audio")


class AudioOptions(Config):
    """Options of a corpus of sound files, whose films may lie beside them."""

    media: Literal["audio", "video"] = Field("audio", description="which files: audio or video")


class Corpus(ABC, Generic[O]):
    """Reads one corpus as it lies on disk after unpacking.

    Attributes:
        about: where the corpus comes from.
        name: how its files are called in messages.
        example: a file as it lies below the root, for the message that there is none.
        Options: what ``--option`` may say.
    """

    about: ClassVar[About]
    name: ClassVar[str]
    example: ClassVar[str]
    Options: ClassVar[type[Config]] = Config

    def __init__(self, options: O) -> None:
        self.options = options

    def read(self, root: Path) -> Reading:
        """Return a row for every clip found, with paths relative to ``root``, and notes on what was left out.

        Raises:
            InputError: this is not such a corpus.
        """
        reading = Reading(root, self.name, self.example)
        self.fill(reading)
        reading.tell_apart()
        return reading

    @abstractmethod
    def fill(self, reading: Reading) -> None:
        """Add rows and notes; see ``read``."""

    def expected(self) -> Expected:
        """Return the published counts that hold for these options."""
        return Expected()
