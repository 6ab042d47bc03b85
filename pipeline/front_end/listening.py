"""One media file to features, by the stages' own extractors with the settings that a model was trained with."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from threadpoolctl import threadpool_limits

from pipeline.acoustics import AcousticsConfig, AcousticsExtractor
from pipeline.audio import AudioConfig, AudioExtractor
from pipeline.config import Config
from pipeline.errors import InputError, Quarantined
from pipeline.front_end.grid import FeatureColumn, Grid, combine, feature_grid
from pipeline.front_end.record import SPEECH_MODEL, packages_of, settings_of
from pipeline.media import decoder_version, probe
from pipeline.segments import SegmentsConfig, SegmentsExtractor


class FrontEnd(Config):
    """What makes the features of a model: the entry ``front_end`` of shards and of model folders."""

    column: FeatureColumn = "lld"
    segments: SegmentsConfig = SegmentsConfig()
    audio: AudioConfig = AudioConfig()
    acoustics: AcousticsConfig = AcousticsConfig()
    versions: dict[str, str] = Field({}, description="at training time, of what can change a feature")
    speech_model: dict[str, Any] | None = Field(None, description="what the speech model of training says of itself")

    @classmethod
    def read(cls, raw: Mapping[str, Any], *, where: str) -> FrontEnd:
        """Check what a model folder says.

        Args:
            raw: the entry.
            where: what to call it in messages.

        Raises:
            InputError: a key that this version of the code does not know, or a value that it cannot do; names the key.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
            raise InputError(
                f"{where} needs features that this version of avser cannot make ({wrong}): install the version that "
                "trained the model, or train it again"
            ) from None

    def with_speech_model(self, folder: Path | None) -> FrontEnd:
        """Return the front end with its speech model in another folder; None: as it is."""
        if folder is None:
            return self
        if SPEECH_MODEL not in self.column:
            raise InputError(f"the model hears the column {self.column}: it needs no speech model")
        moved = self.acoustics.speech_model.model_copy(update={"path": folder})
        return self.model_copy(update={"acoustics": self.acoustics.model_copy(update={"speech_model": moved})})


class Stretch(NamedTuple):
    """A part of a recording that becomes one segment, s."""

    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one stretch: ``values`` (n_frames, n_features) float32, ``times`` (n_frames,) s in the recording."""

    values: NDArray[np.float32]
    times: NDArray[np.float64]


class Listener:
    """Media files to features; openSMILE or the speech model is loaded once and kept.

    Args:
        front_end: the settings.

    Raises:
        InputError: the speech model is not where it was, or is another one.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
        own = {name: getattr(front_end.acoustics, name) for name in settings_of(front_end.column)}
        if "logmel" in front_end.column:
            own["logmel"] = True
        self._cut = SegmentsExtractor(front_end.segments)
        self._decode = AudioExtractor(front_end.audio)
        try:
            self._describe = AcousticsExtractor(AcousticsConfig(**own))
        except InputError as error:
            if SPEECH_MODEL not in front_end.column:
                raise
            raise InputError(f"{error} (or name its folder with --speech-model)") from None
        about = self._describe.metadata()
        self._check_speech_model(about)
        self._about = about
        self.grid: Grid = feature_grid(about, front_end.column, front_end.audio.sample_rate)

    def _check_speech_model(self, about: dict[str, Any]) -> None:
        wanted, here = self.front_end.speech_model or {}, about.get("speech_model", {})
        differing = [
            f"{key}: the model {old}, here {here.get(key)}" for key, old in wanted.items() if old != here.get(key)
        ]
        if SPEECH_MODEL in self.front_end.column and differing:
            raise InputError(
                f"{self.front_end.acoustics.speech_model.path} is not the speech model of training (acoustics."
                f"speech_model.{'; '.join(differing)}): name the right folder with --speech-model"
            )

    def differences(self) -> list[str]:
        """Return which versions that can change a feature are not those of training: ``name: the model 1, here 2``."""
        installed = {"ffmpeg": decoder_version()}
        installed |= {name: importlib.metadata.version(name) for name in packages_of(self.front_end.column)}
        of_model = self.front_end.versions
        return [
            f"{name}: the model {of_model[name]}, here {here}"
            for name, here in installed.items()
            if of_model.get(name, here) != here
        ]

    def check(self, feature_names: tuple[str, ...], frame_period: float) -> None:
        """Make sure that the features are those that a network knows.

        Args:
            feature_names: of the network's input.
            frame_period: s.

        Raises:
            InputError: they are not; names the key and both values.
        """
        names, period = self.grid.names, self.grid.period
        if period != frame_period:
            raise InputError(f"frame_period: the model {frame_period:g} s, here {period:g} s")
        if tuple(names) != feature_names:
            differing = [(want, have) for want, have in zip(feature_names, names, strict=False) if want != have]
            first = f", the first that differs: {differing[0][0]}, here {differing[0][1]}" if differing else ""
            raise InputError(f"feature_names: the model {len(feature_names)}, here {len(names)}{first}")

    def stretches(
        self, path: Path, *, start: float | None = None, end: float | None = None, whole: bool = False
    ) -> list[Stretch]:
        """Cut a recording as the stage ``segments`` does.

        What is not longer than ``segments.max_seconds`` stays whole, by the rules of labelled clips, so that a
        labelled clip gives the features of its evaluation.

        Args:
            path: a media file.
            start: s, of an utterance in it; it is then not cut.
            end: s; likewise.
            whole: do not cut, however long (up to ``segments.max_whole_seconds``).

        Raises:
            Quarantined: there is nothing that can be used; the reason says why.
        """
        labelled = whole or probe(path).duration <= self.front_end.segments.max_seconds
        found = self._cut({"media_path": str(path), "start": start, "end": end, "labelled": labelled})
        return [Stretch(piece["start"], piece["end"]) for piece in found["segments"]]

    def features(self, path: Path, stretch: Stretch) -> Features:
        """Return the features of a stretch.

        Raises:
            Quarantined: it cannot be decoded, is too short, or gives values that are no numbers.
        """
        with threadpool_limits(1):  # as in the workers of the stages: sums depend on it in the last bit
            sound = self._decode({"media_path": str(path), "start": stretch.start, "end": stretch.end})
            row = self._describe({"flac": sound["flac"]})
            values = combine(row, self._about, self.front_end.column, self.front_end.audio.sample_rate)
        if not np.isfinite(values).all():
            raise Quarantined(f"its features ({self.front_end.column}) hold values that are no numbers")
        return Features(values, self.grid.times(len(values)) + stretch.start)
