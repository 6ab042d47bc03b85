"""Emotion of recordings by a fine-tuned model: media to segments to features (pipeline) to answers (trainer)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from avser.clips import Clip, find_clips
from pipeline.contracts import OK, QUARANTINED
from pipeline.errors import InputError, Quarantined
from pipeline.front_end.listening import FrontEnd, Listener
from trainer.predictor import BATCH, Predictor

if TYPE_CHECKING:
    from trainer.data.arrays import FloatArray

IDENTITY = ("file", "segment_id", "start", "end", "status", "reason")


@dataclass
class _Segment:
    """One row of the table to be, and its features where there are any."""

    row: dict[str, Any]
    speaker: str
    features: FloatArray | None = None


class Model:
    """A trained model, ready to hear recordings.

    Args:
        folder: model folder of fine-tuning.
        speech_model: folder of the speech model that the features come from, where it is not the one of training.

    Raises:
        InputError: it is no model folder, or needs features that cannot be made here; names the key.

    Example::

        model = avser.load("models/final")
        table = model.predict("interview.wav")
        table.groupby("emotion")["confidence"].mean()
    """

    def __init__(self, folder: str | Path, *, speech_model: str | Path | None = None) -> None:
        _check_single(Path(folder))
        self.predictor = Predictor(folder)
        front_end = FrontEnd.read(self.predictor.front_end, where=str(folder))
        self._listener = Listener(front_end.with_speech_model(None if speech_model is None else Path(speech_model)))
        try:
            self._listener.check(self.predictor.spec.feature_names, self.predictor.spec.frame_period)
        except InputError as error:
            raise InputError(f"{folder} needs other features than can be made here: {error}") from None

    @property
    def differences(self) -> list[str]:
        """Versions that can change a feature and are not those of training, as ``ffmpeg: the model 7.0, here 6.1``."""
        return self._listener.differences()

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, or the attributes."""
        return self.predictor.objective.names

    @property
    def _numbers(self) -> list[str]:
        """Columns of answers that are numbers."""
        words = self.predictor.answer if self.predictor.objective.is_classes else None
        return [name for name in self.predictor.columns if name != words]

    def predict(
        self,
        source: str | Path | Iterable[str | Path],
        *,
        whole: bool = False,
        root: str | Path | None = None,
        on_clip: Callable[[Clip, pd.DataFrame], None] | None = None,
    ) -> pd.DataFrame:
        """Hear recordings.

        What is longer than ``segments.max_seconds`` of training (11 s by default) is cut at pauses, as the pipeline
        cuts it. A file that cannot be used is a row with the reason.

        Args:
            source: a media file, a folder, a manifest (``.csv``), or several of them.
            whole: do not cut (up to ten minutes).
            root: folder that the paths of a manifest start from; None: the manifest's own.
            on_clip: called with every clip and its rows as soon as they are there.

        Returns:
            One row a segment: ``file``, ``segment_id``, ``start``, ``end`` (s), ``status`` (ok, quarantined),
            ``reason``, and the answers of `trainer.predictor.Predictor.predict`: of classes ``emotion``,
            ``confidence`` and ``p_<class>``.

        Raises:
            InputError: a source is not there or wrong as a whole, or a model that is normalised by speaker hears
                recordings of which nobody says who speaks.
        """
        sources = [source] if isinstance(source, str | Path) else list(source)
        clips = find_clips(sources, root=root)
        self._check_speakers(clips)
        heard = ((clip, self._hear(clip, whole=whole)) for clip in clips)
        if self.predictor.by_speaker:  # all of a speaker's speech first
            listed = list(heard)
            self._answer([segment for _, segments in listed for segment in segments])
            tables = self._tables(listed, on_clip)
        else:
            tables = self._tables(self._answered(heard), on_clip)
        return pd.concat(list(tables), ignore_index=True)

    def _check_speakers(self, clips: list[Clip]) -> None:
        unknown = [clip.file for clip in clips if not clip.speaker and not clip.fault]
        if self.predictor.by_speaker and unknown:
            raise InputError(
                f"{self.predictor.folder} compares everyone with their own speech (normalisation: speaker), "
                f"and nobody says who speaks in {unknown[0]}: give a manifest with several clips a speaker "
                "(data_manifests/README.md), or a model that was trained with normalisation: train or utterance"
            )

    def _hear(self, clip: Clip, *, whole: bool) -> list[_Segment]:
        def failed(reason: object, **more: Any) -> _Segment:
            row = {"file": clip.file, "segment_id": clip.name, "status": QUARANTINED, "reason": str(reason), **more}
            return _Segment(row, clip.speaker)

        if clip.fault:
            return [failed(clip.fault)]
        try:
            stretches = self._listener.stretches(
                clip.path, start=clip.start, end=clip.end, whole=whole or clip.labelled
            )
        except Exception as error:  # one bad file of any kind must not stop the run
            return [failed(_why(error))]
        segments = []
        for number, stretch in enumerate(stretches):
            where = {"segment_id": f"{clip.name}#{number:03d}", "start": stretch.start, "end": stretch.end}
            try:
                values = self._listener.features(clip.path, stretch).values
            except Exception as error:
                segments.append(failed(_why(error), **where))
            else:
                row = {"file": clip.file, **where, "status": OK, "reason": None}
                segments.append(_Segment(row, clip.speaker, values))
            if number % BATCH == BATCH - 1 and not self.predictor.by_speaker:
                self._answer(segments)  # so that hours of features are never in memory at once
        return segments

    def _answered(self, heard: Iterable[tuple[Clip, list[_Segment]]]) -> Iterator[tuple[Clip, list[_Segment]]]:
        for clip, segments in heard:
            self._answer(segments)
            yield clip, segments

    def _answer(self, segments: list[_Segment]) -> None:
        usable = [segment for segment in segments if segment.features is not None]
        if not usable:
            return
        features = [segment.features for segment in usable if segment.features is not None]
        answers = self.predictor.predict(features, [segment.speaker for segment in usable])
        for segment, answer in zip(usable, answers.to_dict("records"), strict=True):
            segment.row |= {str(name): value for name, value in answer.items()}
            segment.features = None  # a long recording's need not stay

    def _tables(
        self, answered: Iterable[tuple[Clip, list[_Segment]]], on_clip: Callable[[Clip, pd.DataFrame], None] | None
    ) -> Iterator[pd.DataFrame]:
        columns = [*IDENTITY, *self.predictor.columns]
        for clip, segments in answered:
            table = pd.DataFrame([segment.row for segment in segments]).reindex(columns=columns)
            numbers = {"start", "end", *self._numbers}
            table = table.astype({name: "float64" if name in numbers else "str" for name in columns})
            if on_clip is not None:
                on_clip(clip, table)
            yield table


def _why(error: Exception) -> str:
    """Say why a file cannot be used; what is wrong for all files alike is raised."""
    if isinstance(error, InputError):
        raise error
    return str(error) if isinstance(error, Quarantined) else f"{type(error).__name__}: {error}"


def _check_single(folder: Path) -> None:
    """Refuse a folder of model folders, naming those in it."""
    if not (folder / "config.json").is_file() and (folder / "index.json").is_file():
        inside = sorted(str(path.parent) for path in folder.glob("**/config.json"))
        raise InputError(f"{folder} is a folder of models, name one of them: {', '.join(inside[:8])}")


def default_model() -> Path:
    """Return the final model of this project.

    Raises:
        InputError: there is none, or one for each of several corpora; names the ways to get or to choose one.
    """
    final = Path("models/final")
    found = sorted(path.parent for path in final.glob("**/config.json"))
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{final} holds several models, choose one with --model: {', '.join(map(str, found[:8]))}")
    others = sorted(path.parent for path in Path("models").glob("finetune/**/config.json"))
    there = f" Trained ones that are here: {', '.join(map(str, others[:6]))}." if others else ""
    raise InputError(
        f"no --model, and {final} is not there: set finetune.final to true in params.yaml and run `dvc repro`, or name "
        f"the folder of a fine-tuned model with --model.{there}"
    )


def note(message: str) -> None:
    """Tell people of something that changes no row."""
    print(f"note: {message}", file=sys.stderr)
