"""Who says what and how in the synthetic corpus, decided before anything is synthesised."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from pipeline.config import DISTINCT, Config
from pipeline.synthetic.acting import EMOTIONS, Speaker, draw_speaker
from pipeline.synthetic.photos import PHOTOS
from pipeline.synthetic.voice import VOICES

SetName = Literal["unlabelled", "labelled"]
EmotionName = Literal["anger", "happiness", "sadness", "neutral", "fear", "disgust", "surprise"]


class SyntheticConfig(Config):
    """Section ``synthetic``: size and difficulty of the embedded corpus. Every default is ours."""

    seed: int = Field(7, ge=0, description="all randomness derives from it")
    emotions: Annotated[tuple[EmotionName, ...], DISTINCT] = Field(
        ("anger", "happiness", "sadness", "neutral"), min_length=2, description="planted emotions, equally frequent"
    )
    unlabelled_speakers: int = Field(10, ge=2, le=len(PHOTOS), description="each has a photograph and a voice")
    clips_per_speaker: int = Field(4, ge=1, description="films a speaker, 1.5-5 s each")
    neutral_share: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="neutral share of the films, as people mostly are; the other emotions share the rest",
    )
    dev_speakers: int = Field(2, ge=0, description="unlabelled speakers held out as split 'dev'; the others train")
    labelled_speakers: int = Field(8, ge=2, le=10, description="voices other than those of the films")
    utterances_per_speaker: int = Field(16, ge=1, description="labelled sound files a speaker")
    labelled_films: bool = Field(
        True, description="also film the labelled speakers: their faces join the unlabelled set, without labels"
    )
    raters: int = Field(5, ge=0, description="simulated votes a labelled utterance, for recipes that need them")
    folds: int = Field(4, ge=2, description="speaker-disjoint folds of the labelled set")
    fps: float = Field(25.0, gt=0, description="frames a second, as in GRID")
    size: int = Field(192, ge=128, multiple_of=2, description="px, edge of the square film")
    face_width: float = Field(0.5, gt=0.2, lt=0.8, description="cheek to cheek, share of the film's width")
    head_motion: float = Field(1.0, ge=0, description="0: still; 1: up to about 4 % size, 5 degrees, 3 % shift")
    overlap: float = Field(1.0, ge=0, description="spread between utterances of one emotion; difficulty, 0: none")
    noise: float = Field(-58.0, description="dB full scale, background of the sound; speech lies near -25")
    crf: int = Field(23, ge=0, le=51, description="x264 quality, its default")

    @model_validator(mode="after")
    def _possible(self) -> SyntheticConfig:
        if self.dev_speakers >= self.unlabelled_speakers:
            raise ValueError("dev_speakers must leave at least one unlabelled speaker to train on")
        if self.folds > self.labelled_speakers:
            raise ValueError("folds cannot exceed labelled_speakers: a speaker lies in one fold")
        return self


@dataclass(frozen=True)
class Clip:
    """One clip as planned, before anything is synthesised."""

    clip_id: str
    set: SetName
    speaker: Speaker
    face: int
    part: str  # split of an unlabelled, fold of a labelled clip
    emotion: str
    energy: bool
    activation: bool

    @property
    def path(self) -> str:
        """File that its set names, below the corpus folder."""
        return self.film if self.set == "unlabelled" else f"{self.set}/{self.clip_id}.flac"

    @property
    def film(self) -> str:
        """Its film below the corpus folder, if it is filmed."""
        return f"{self.set}/{self.clip_id}.mp4"

    @property
    def is_filmed(self) -> bool:
        """Tell whether it has a face."""
        return self.face >= 0


def plan(config: SyntheticConfig) -> list[Clip]:
    """Return all clips with speaker, emotion and planted classes; a pure function of ``config``."""
    return _plan_set(config, "unlabelled") + _plan_set(config, "labelled")


def _plan_set(config: SyntheticConfig, name: SetName) -> list[Clip]:
    films = name == "unlabelled"
    speakers = config.unlabelled_speakers if films else config.labelled_speakers
    each = config.clips_per_speaker if films else config.utterances_per_speaker
    rng = clip_rng(config, f"plan/{name}")
    # Voices alternate by sex; a film's voice follows its photograph.
    sexes: list[str] = [photo.sex for photo in PHOTOS] if films else ["f", "m"] * 5
    voices = [VOICES[name][sex][sexes[:i].count(sex)] for i, sex in enumerate(sexes)]
    faces = _faces(sexes[:speakers], films=films, labelled=config.labelled_films)
    cast = [draw_speaker(f"{'face' if films else 'voice'}{i + 1:02d}", voices[i], rng) for i in range(speakers)]
    emotions = _emotions(config, speakers, each, films=films)
    energy, activation = np.zeros(len(emotions), bool), np.zeros(len(emotions), bool)
    for emotion in config.emotions:
        rows = np.flatnonzero([e == emotion for e in emotions])
        for classes, share in (
            (energy, EMOTIONS[emotion].high_energy),
            (activation, EMOTIONS[emotion].high_activation),
        ):
            classes[rng.permutation(rows)[: round(share * len(rows))]] = True
    clips = []
    for i, speaker in enumerate(cast):
        part = ("dev" if i >= speakers - config.dev_speakers else "train") if films else f"f{i % config.folds + 1}"
        for k in range(each):
            row = i * each + k
            clips.append(
                Clip(
                    clip_id=f"{speaker.name}_{k + 1:03d}",
                    set=name,
                    speaker=speaker,
                    face=faces[i],
                    part=part,
                    emotion=emotions[row],
                    energy=bool(energy[row]),
                    activation=bool(activation[row]),
                )
            )
    return clips


def _faces(sexes: list[str], *, films: bool, labelled: bool) -> list[int]:
    """Return the photograph of every speaker, by number; -1 for one who is only heard.

    The films of the unlabelled set take the photographs in order. Labelled speakers share them, each with one of their
    sex: they are other people by voice and manner, which is all that a recogniser hears.
    """
    if films:
        return list(range(len(sexes)))
    alike = {sex: [number for number, photo in enumerate(PHOTOS) if photo.sex == sex] for sex in set(sexes)}
    return [alike[sex][sexes[:i].count(sex) % len(alike[sex])] if labelled else -1 for i, sex in enumerate(sexes)]


def _emotions(config: SyntheticConfig, speakers: int, each: int, *, films: bool) -> list[str]:
    """Deal emotions to ``speakers`` x ``each`` clips in the configured shares, evenly over speakers."""
    weights = np.ones(len(config.emotions))
    if films and "neutral" in config.emotions:
        is_neutral = np.array(config.emotions) == "neutral"
        weights = np.where(is_neutral, config.neutral_share, (1 - config.neutral_share) / (~is_neutral).sum())
    weights = weights / weights.sum()
    dealt: list[str] = []
    given = np.zeros(len(weights))
    for _ in range(speakers * each):  # always the emotion that lags furthest behind its share
        k = int(np.argmax(weights * (len(dealt) + 1) - given))
        given[k] += 1
        dealt.append(config.emotions[k])
    return dealt


def clip_rng(config: SyntheticConfig, key: str) -> np.random.Generator:
    """Return a generator that depends on the seed and a name alone, hence not on the order of work."""
    return np.random.default_rng([config.seed, zlib.crc32(key.encode())])
