"""What shards say of themselves, with types and bounds."""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

FRAMES = ("dense", "mouth", "viseme")  # columns with targets on every frame
KEYS = ("segment_id", "corpus", "speaker")


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("names must be without repeats")
    return names


Names = Annotated[tuple[str, ...], AfterValidator(_distinct)]
FeatureNames = Annotated[Names, Field(min_length=1, max_length=100_000)]
FramePeriod = Annotated[float, Field(ge=1e-4, le=1.0)]  # s


class FrameColumn(BaseModel):
    """Names of the tracks in a column, or of its classes; groups of tracks."""

    names: Names
    groups: dict[str, tuple[str, ...]] = {}

    @model_validator(mode="after")
    def _known(self) -> FrameColumn:
        unknown = sorted({name for group in self.groups.values() for name in group} - set(self.names))
        if unknown:
            raise ValueError(f"groups name tracks that are not there: {', '.join(unknown)}")
        return self


class ShardMetadata(BaseModel):
    """Metadata of a part of the shards."""

    model_config = ConfigDict(allow_inf_nan=False, extra="ignore")

    feature_names: FeatureNames
    frame_period: FramePeriod
    dense: FrameColumn | None = None
    mouth: FrameColumn | None = None
    viseme: FrameColumn | None = None
    front_end: dict[str, Any] | None = None  # how the pipeline made the features: handed on, never looked into

    @field_validator("frame_period", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool | str):
            raise ValueError("must be a number of seconds")
        return value

    @field_validator(*FRAMES, mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return value or None

    @field_validator("viseme")
    @classmethod
    def _few(cls, column: FrameColumn | None) -> FrameColumn | None:
        if column is not None and len(column.names) > 127:
            raise ValueError("more than 127 classes")
        return column

    @property
    def frame_names(self) -> dict[str, tuple[str, ...]]:
        """Column to the names in it, of those that are described."""
        return {name: column.names for name in FRAMES if (column := getattr(self, name)) is not None}


def wrong_types(schema: pa.Schema) -> list[str]:
    """Name the columns of shards whose type is not the contract's."""
    return [f"{name} ({schema.field(name).type})" for name in schema.names if not _fits(name, schema.field(name).type)]


def _fits(name: str, kind: pa.DataType) -> bool:
    if name in ("features", *FRAMES):
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return lists and _is_number(kind.value_type)
    if name == "n_frames":
        return bool(pa.types.is_integer(kind))
    if name.startswith("votes_"):
        return _is_number(kind) or bool(pa.types.is_null(kind))
    if name in KEYS:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))
    return True


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
