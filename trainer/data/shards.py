"""Reading shards: scalar columns as one table, values on every frame as memory-mapped arrays."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from trainer.data.arrays import FloatArray, IntArray
from trainer.data.memory_map import FRAME_COLUMNS, LAYOUT, Frames, build, moments, open_frames, open_map
from trainer.data.metadata import KEYS, ShardMetadata, wrong_types
from trainer.data.parts import UNFOLDED_BYTES, UNFOLDED_TIMES, open_part, read_part, reading
from trainer.data.rows import Texts, clip_ids, speaker_keys, text
from trainer.errors import InputError
from trainer.store import is_whole, read_sums

_BLOCK = 1 << 20  # bytes read at once
REQUIRED = ("segment_id", "corpus", "speaker", "n_frames", "features")


@dataclass(frozen=True)
class Shards:
    """An opened shard folder of N rows.

    ``rows``: scalar columns, index 0..N-1. ``features``: (total frames, F), memory-mapped; row i holds frames
    ``offsets[i]:offsets[i + 1]``. ``mean`` and ``m2``: (N, F) float64, per row the mean and the sum of squared
    deviations, from which the statistics of any subset follow without touching the features again. ``dense``,
    ``mouth``: (total frames, K) float32 targets, NaN where there is none, K = 0 in shards without that column.
    ``viseme``: (total frames, 1) int8 classes, -1 where there is none. ``frame_names``: column to the names in it.
    """

    folder: Path
    place: Path  # of the memory map
    rows: pd.DataFrame
    offsets: IntArray
    mean: npt.NDArray[np.float64]
    m2: npt.NDArray[np.float64]
    feature_names: tuple[str, ...]
    frame_period: float
    fingerprint: str
    metadata: dict[str, Any] = field(repr=False)
    frame_names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def features(self) -> Frames | FloatArray:
        """Features of all frames, (total frames, F), opened on first use; their slices are float32."""
        return open_frames(self.place, int(self.offsets[-1]), self.feature_names)

    @cached_property
    def dense(self) -> FloatArray:
        """Tracks on all frames, opened on first use."""
        return self._targets("dense")

    @cached_property
    def mouth(self) -> FloatArray:
        """Coordinates of mouth, jaw and chin on all frames, opened on first use."""
        return self._targets("mouth")

    @cached_property
    def viseme(self) -> npt.NDArray[np.int8]:
        """Viseme class of all frames, opened on first use."""
        return self._targets("viseme")

    @property
    def front_end(self) -> dict[str, Any] | None:
        """How the pipeline made the features, for the model folder; None: shards that do not say so."""
        return self.metadata.get("front_end")

    def _targets(self, column: str) -> npt.NDArray[Any]:
        return open_map(self.place, column, int(self.offsets[-1]), self.frame_names.get(column, ()))

    @cached_property
    def lengths(self) -> IntArray:
        """Frames of every row, (N,)."""
        return np.diff(self.offsets)

    @cached_property
    def corpora(self) -> Texts:
        """Corpus of every row, (N,)."""
        return text(self.rows, "corpus")

    @cached_property
    def clips(self) -> Texts:
        """Clip of every row, (N,)."""
        return clip_ids(self.rows)

    @cached_property
    def speakers(self) -> Texts:
        """Speaker key of every row, (N,); a clip without a speaker is a speaker of its own."""
        return speaker_keys(self.rows, unknown_is_own=True)

    def __getstate__(self) -> dict[str, Any]:
        # what is cached is opened or made anew in a worker process: pickling the map would copy the whole corpus
        return {item.name: self.__dict__[item.name] for item in fields(self)}


def has_shards(folder: str | Path) -> bool:
    """Return whether there are any shards in ``folder``; whether they are sound shows when they are opened."""
    return next(Path(folder).glob("part-*.parquet"), None) is not None


def open_shards(folder: str | Path, *, cache: str | Path = ".cache/trainer") -> Shards:
    """Open every ``part-*.parquet`` of ``folder`` (data contract 1).

    The memory map in ``cache`` is built on first use, and again when a part's content changes or the map is damaged.

    Raises:
        InputError: the folder or a column is missing, parts disagree, or values are not finite or do not match
            ``n_frames``; names part and remedy.
    """
    folder = Path(folder)
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise InputError(f"no shards (part-*.parquet) in {folder}: run the pipeline first (`dvc repro shards`)")
    pages = _check_sums(parts)
    checked, metadata = _common_metadata(parts)
    fingerprint = _fingerprint(pages, metadata)
    names, frame_names = checked.feature_names, checked.frame_names
    rows = pd.concat([_scalar_columns(part) for part in parts], ignore_index=True)
    if rows.empty:
        raise InputError(f"the shards in {folder} hold no rows: every segment was quarantined or the manifest is empty")
    repeated = rows["segment_id"][rows["segment_id"].duplicated()]
    if len(repeated):
        raise InputError(f"{folder}: segment_id {repeated.iloc[0]!r} occurs twice")
    # sets of one name in two folders are two sets: neither is an old version of the other
    where = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    place = Path(cache) / "frames" / f"{folder.name}-{where}-{LAYOUT}{fingerprint[:16]}"
    if not is_whole(place):
        build(parts, place, n_rows=len(rows), feature_names=names, frame_names=frame_names)
    return Shards(
        folder=folder,
        place=place,
        rows=rows,
        offsets=np.load(place / "offsets.npy"),
        mean=np.load(place / "mean.npy"),
        m2=np.load(place / "m2.npy"),
        feature_names=names,
        frame_period=checked.frame_period,
        fingerprint=fingerprint,
        metadata=metadata,
        frame_names=frame_names,
    )


def hold_in_memory(
    features: Sequence[FloatArray], speakers: Sequence[str], *, feature_names: tuple[str, ...], frame_period: float
) -> Shards:
    """Treat arrays as the rows of a shard folder, so that they become batches by the same arithmetic.

    Args:
        features: N arrays (n_frames, F) float32, at least one frame each.
        speakers: who speaks in each; equal names are one speaker, "" nobody known.
        feature_names: F names.
        frame_period: s.
    """
    offsets = np.concatenate([[0], np.cumsum([len(frames) for frames in features])])
    mean, m2 = (np.stack(values) for values in zip(*map(moments, features), strict=True))
    names = [f"{number:06d}" for number in range(len(features))]
    held = Shards(
        folder=Path("memory"),
        place=Path("memory"),
        rows=pd.DataFrame({"segment_id": names, "corpus": "", "speaker": pd.Series(speakers, dtype=object)}),
        offsets=offsets,
        mean=mean,
        m2=m2,
        feature_names=feature_names,
        frame_period=frame_period,
        fingerprint="",
        metadata={},
    )
    held.__dict__["features"] = np.concatenate(features)  # in place of the map that the property would open
    return held


def _common_metadata(parts: list[Path]) -> tuple[ShardMetadata, dict[str, Any]]:
    """Read the schema metadata shared by all parts, checked and as they are; refuse parts that disagree on a frame."""
    first: tuple[ShardMetadata, dict[str, Any]] | None = None
    for part in parts:
        schema, checked, metadata = read_part(part, ShardMetadata, columns=REQUIRED)
        first = first or (checked, metadata)
        if checked != first[0]:
            raise InputError(
                f"{part} differs from {parts[0]} in features, targets on frames or frame period: rebuild the shards"
            )
        for column in checked.frame_names:
            if column not in schema.names:
                raise InputError(f"{part}: column {column} missing, which its metadata describe: rebuild the shards")
        wrong = wrong_types(schema)
        if wrong:
            raise InputError(f"{part}: column(s) of a wrong type: {', '.join(wrong)}: rebuild the shards")
    assert first is not None
    return first


def _scalar_columns(part: Path) -> pd.DataFrame:
    """All columns but those with a value a frame; text columns as object with None for null."""
    file = open_part(part)
    names = [name for name in file.schema_arrow.names if name not in ("features", *FRAME_COLUMNS)]
    batches, size = [], 0
    with reading(part):
        for batch in file.iter_batches(batch_size=256, columns=names):
            size += batch.nbytes
            if size > max(UNFOLDED_BYTES, UNFOLDED_TIMES * part.stat().st_size):
                raise InputError(f"{part} unfolds to far more than its size: no part of a pipeline's table")
            batches.append(batch)
        table = pa.Table.from_batches(
            batches, schema=None if batches else pa.schema(map(file.schema_arrow.field, names))
        )
    columns: dict[str, Any] = {}
    for name in names:
        column = table.column(name)
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if is_text or pa.types.is_null(column.type) or pa.types.is_dictionary(column.type):
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
        else:
            columns[name] = column.to_pandas()
        if name in KEYS and name != "speaker" and column.null_count:
            raise InputError(f"{part}: {column.null_count} row(s) without {name}: rebuild the shards")
        if pa.types.is_floating(column.type) and np.isinf(columns[name]).any():
            raise InputError(f"{part}: column {name} holds infinity: rebuild the shards")
    return pd.DataFrame(columns)


def _check_sums(parts: list[Path]) -> dict[str, str]:
    """Part to SHA-256 of its pages; raises InputError if the parts are not those that the pipeline wrote."""
    hashes, stated = {part.name: _hash_part(part) for part in parts}, parts[0].parent / "_SHA256SUMS"
    if stated.is_file():
        try:
            written = read_sums(stated)
        except ValueError:  # the list itself is damaged
            written = {}
        if written != {name: whole for name, (whole, _) in hashes.items()}:
            raise InputError(
                f"{stated.parent} is not as the pipeline wrote it (`sha256sum -c {stated.name}` names the parts): copy "
                "the folder again, or delete it and run `dvc repro`"
            )
    return {name: pages for name, (_, pages) in hashes.items()}


def _hash_part(part: Path) -> tuple[str, str]:
    """SHA-256 of a Parquet file, and of what lies before its footer, which holds the schema and its metadata."""
    with part.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        footer = 8 + int.from_bytes(file.read(4), "little")  # a damaged length makes another hash, no error
        file.seek(0)
        digest, left = hashlib.sha256(), max(0, size - footer)
        while block := file.read(min(left, _BLOCK)):
            digest.update(block)
            left -= len(block)
        pages = digest.hexdigest()
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest(), pages


def _fingerprint(pages: Mapping[str, str], metadata: Mapping[str, Any]) -> str:
    """SHA-256 over what the parts hold and say of it, but for ``front_end``.

    Another version of ffmpeg that decodes the same sound retrains nothing.
    """
    whole = hashlib.sha256()
    for name, digest in pages.items():
        whole.update(name.encode() + bytes.fromhex(digest))
    counted = {name: value for name, value in metadata.items() if name != "front_end"}
    whole.update(json.dumps(counted, sort_keys=True).encode())
    return whole.hexdigest()
