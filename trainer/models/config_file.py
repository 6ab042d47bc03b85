"""What ``config.json`` of a model folder may hold, with types and bounds: folders are handed on between people."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.data.metadata import FeatureNames, FramePeriod, Names
from trainer.params import EncoderParams

Deviation = Annotated[float, Field(gt=0)]
MOST_FRAMES = 10_000_000  # of all chunks of an utterance


class Entry(BaseModel):
    """A part of the file: no infinities, and what it does not know is left alone."""

    model_config = ConfigDict(allow_inf_nan=False, extra="ignore")


class ChunkingEntry(Entry):
    """Of `trainer.data.chunking.Chunking`."""

    frames: int = Field(ge=1)
    count: int = Field(ge=1)

    @model_validator(mode="after")
    def _bounded(self) -> ChunkingEntry:
        if self.frames * self.count > MOST_FRAMES:
            raise ValueError(f"more than {MOST_FRAMES} frames")
        return self


class NormalisationEntry(Entry):
    """Of `trainer.data.normalisation.Normalisation`."""

    mean: tuple[float, ...]
    std: tuple[Deviation, ...]
    clip: float = Field(gt=0)
    scope: Literal["train", "speaker", "utterance"] = "train"


class TracksEntry(Entry):
    """Of `trainer.data.tracks.TrackScale`."""

    names: Names
    mean: tuple[float, ...]
    std: tuple[Deviation, ...]
    clip: float = Field(gt=0)

    @model_validator(mode="after")
    def _one_length(self) -> TracksEntry:
        if not len(self.names) == len(self.mean) == len(self.std):
            raise ValueError("names, mean and std must be of one length")
        return self


class FramesEntry(Entry):
    """Of `trainer.data.tracks.FrameTargets`."""

    step: int = Field(ge=1)
    reconstruct: bool
    tracks: TracksEntry | None


class DataEntry(Entry):
    """What a model was trained on."""

    shards: str


class InputEntries(Entry):
    """What every kind of model knows of its input."""

    feature_names: FeatureNames
    frame_period: FramePeriod
    normalisation: NormalisationEntry

    @model_validator(mode="after")
    def _one_length(self) -> InputEntries:
        if not len(self.feature_names) == len(self.normalisation.mean) == len(self.normalisation.std):
            raise ValueError("normalisation must have one mean and std a feature")
        return self


class ModelConfig(InputEntries):
    """Of pretraining and fine-tuning, `trainer.models.checkpoint.ModelSpec`; and where the model comes from."""

    kind: Literal["pretrain", "finetune"]
    architecture: EncoderParams
    head_hidden: int = Field(ge=0, le=4096)
    labels: dict[str, Annotated[Names, Field(min_length=1)]]
    objectives: dict[str, dict[str, Any]] = {}  # a folder written before there were others: one class
    chunking: ChunkingEntry
    frame_targets: FramesEntry | None = None
    face_size: int = Field(default=0, ge=0, le=100_000)
    speakers: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    tasks: tuple[Literal[1, 2, 3], ...] = ()
    dense: tuple[str, ...] = ()
    data: DataEntry | None = None
    params: dict[str, Any] = {}
    front_end: dict[str, Any] | None = None  # how the pipeline made the features; `avser predict` reads it

    @model_validator(mode="after")
    def _of_its_kind(self) -> ModelConfig:
        missing = {"speakers", "corpora", "tasks", "data", "params"} - self.model_fields_set
        if self.kind == "pretrain" and missing:
            raise ValueError(f"a pretrained model needs {', '.join(sorted(missing))}")
        return self
