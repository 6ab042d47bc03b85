"""Reading shards: scalar columns as one table, features as one memory-mapped array.

The features are streamed once, part by part, into a flat float32 file under the cache folder, keyed by the shards'
content, so that random access costs neither memory nor a Parquet page per utterance. float32 because several
openSMILE descriptors (spectral variance) exceed what float16 can hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.data.arrays import FloatArray
from trainer.errors import InputError

CONTRACT = 1
REQUIRED = ("segment_id", "corpus", "speaker", "n_frames", "features")
# Columns with targets on every frame; the metadata name their tracks (or, of viseme, its classes) under the same name.
FRAME_COLUMNS: dict[str, type[np.number[Any]]] = {"dense": np.float32, "mouth": np.float32, "viseme": np.int8}


@dataclass(frozen=True)
class Shards:
    """An opened shard folder of N rows.

    ``rows``: scalar columns, index 0..N-1. ``features``: (total frames, F) float32, memory-mapped; row i holds frames
    ``offsets[i]:offsets[i + 1]``. ``mean`` and ``m2``: (N, F) float64, per row the mean and the sum of squared
    deviations, from which the statistics of any subset follow without touching the features again. ``dense``,
    ``mouth``: (total frames, K) float32 targets, NaN where there is none, K = 0 in shards without that column.
    ``viseme``: (total frames, 1) int8 classes, -1 where there is none. ``frame_names``: column to the names in it.
    """

    folder: Path
    place: Path  # of the memory map
    rows: pd.DataFrame
    offsets: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    m2: npt.NDArray[np.float64]
    feature_names: tuple[str, ...]
    frame_period: float
    fingerprint: str
    metadata: dict[str, Any] = field(repr=False)
    frame_names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def features(self) -> FloatArray:
        """All frames, opened on first use."""
        shape = (int(self.offsets[-1]), len(self.feature_names))
        return np.memmap(self.place / "features.f32", dtype=np.float32, mode="r", shape=shape)

    @property
    def dense_names(self) -> tuple[str, ...]:
        """Names of the dense tracks."""
        return self.frame_names.get("dense", ())

    @cached_property
    def dense(self) -> FloatArray:
        """Targets on every frame, opened on first use."""
        return self._map("dense")

    @cached_property
    def mouth(self) -> FloatArray:
        """Coordinates of mouth, jaw and chin on every frame, opened on first use."""
        return self._map("mouth")

    @cached_property
    def viseme(self) -> npt.NDArray[np.int8]:
        """Viseme class of every frame, opened on first use."""
        return self._map("viseme")

    def _map(self, column: str) -> npt.NDArray[Any]:
        kind = FRAME_COLUMNS[column]
        shape = (int(self.offsets[-1]), _width(column, self.frame_names.get(column, ())))
        if not shape[1]:
            return np.zeros(shape, dtype=kind)
        return np.memmap(self.place / _file(column), dtype=kind, mode="r", shape=shape)

    def __getstate__(self) -> dict[str, Any]:
        # a worker process opens the map anew: pickling it would copy the whole corpus
        return {name: value for name, value in self.__dict__.items() if name not in ("features", *FRAME_COLUMNS)}

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Frames of every row, (N,)."""
        return np.diff(self.offsets)


def open_shards(folder: str | Path, *, cache: str | Path = ".cache/trainer") -> Shards:
    """Open every ``part-*.parquet`` of ``folder`` (data contract 1).

    The memory map is built on first use and again only when a part's content changes. Raises InputError naming the
    part and the remedy for a missing folder, a missing column, parts that disagree, or features that are not finite
    or do not match ``n_frames``.
    """
    folder = Path(folder)
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise InputError(f"no shards (part-*.parquet) in {folder}: run the pipeline first (`dvc repro shards`)")
    metadata = _common_metadata(parts)
    names = tuple(metadata["feature_names"])
    frame_names = {name: tuple(metadata[name]["names"]) for name in FRAME_COLUMNS if metadata.get(name)}
    rows = pd.concat([_scalar_columns(part) for part in parts], ignore_index=True)
    if rows.empty:
        raise InputError(f"the shards in {folder} hold no rows: every segment was quarantined or the manifest is empty")
    repeated = rows["segment_id"][rows["segment_id"].duplicated()]
    if len(repeated):
        raise InputError(f"{folder}: segment_id {repeated.iloc[0]!r} occurs twice")
    fingerprint = _fingerprint(parts)
    # sets of one name in two folders are two sets: neither is an old version of the other
    where = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    place = Path(cache) / "frames" / f"{folder.name}-{where}-{fingerprint[:16]}"
    if not place.is_dir():
        _build(parts, n_rows=len(rows), n_features=len(names), frame_names=frame_names, place=place)
    return Shards(
        folder=folder,
        place=place,
        rows=rows,
        offsets=np.load(place / "offsets.npy"),
        mean=np.load(place / "mean.npy"),
        m2=np.load(place / "m2.npy"),
        feature_names=names,
        frame_period=float(metadata["frame_period"]),
        fingerprint=fingerprint,
        metadata=metadata,
        frame_names=frame_names,
    )


def _common_metadata(parts: list[Path]) -> dict[str, Any]:
    """Read the schema metadata shared by all parts; refuse parts that disagree on what a frame is."""
    first: dict[str, Any] = {}
    for part in parts:
        try:
            schema = pq.read_schema(part)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{part} is not a readable Parquet file ({error}): delete it and run again") from None
        missing = [name for name in REQUIRED if name not in schema.names]
        if missing:
            raise InputError(f"{part}: column(s) {', '.join(missing)} missing")
        try:
            metadata: dict[str, Any] = json.loads((schema.metadata or {})[b"avser"])
            identity = {key: metadata[key] for key in ("contract", "feature_names", "frame_period")}
        except (KeyError, json.JSONDecodeError):
            raise InputError(
                f"{part}: schema metadata 'avser' with contract, feature_names and frame_period is missing"
            ) from None
        if identity["contract"] != CONTRACT:
            raise InputError(f"{part}: data contract {identity['contract']}, this trainer reads {CONTRACT}")
        first = first or metadata
        if any(metadata.get(key) != first.get(key) for key in (*identity, *FRAME_COLUMNS)):
            raise InputError(
                f"{part} differs from {parts[0]} in features, targets on frames or frame period: rebuild the shards"
            )
        for column in FRAME_COLUMNS:
            if metadata.get(column) and column not in schema.names:
                raise InputError(f"{part}: column {column} missing, which its metadata describe: rebuild the shards")
    return first


def _scalar_columns(part: Path) -> pd.DataFrame:
    """All columns but those with a value a frame; text columns as object with None for null."""
    names = [name for name in pq.read_schema(part).names if name not in ("features", *FRAME_COLUMNS)]
    table = pq.read_table(part, columns=names)
    columns: dict[str, Any] = {}
    for name in names:
        column = table.column(name)
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if is_text or pa.types.is_null(column.type) or pa.types.is_dictionary(column.type):
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
        else:
            columns[name] = column.to_pandas()
    return pd.DataFrame(columns)


def _fingerprint(parts: list[Path]) -> str:
    """SHA-256 over names and contents of the parts."""
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as stream:
            digest.update(part.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _width(column: str, names: tuple[str, ...]) -> int:
    """Return how many numbers a frame has in a column: one a track, or one class."""
    return min(1, len(names)) if FRAME_COLUMNS[column] is np.int8 else len(names)


def _file(column: str) -> str:
    return f"{column}.{'i8' if FRAME_COLUMNS[column] is np.int8 else 'f32'}"


def _build(
    parts: list[Path], *, n_rows: int, n_features: int, frame_names: dict[str, tuple[str, ...]], place: Path
) -> None:
    """Stream features and frame targets into ``place`` (written beside it and renamed: a kill leaves nothing half)."""
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=place.parent))
    widths = {column: _width(column, names) for column, names in frame_names.items()}
    try:
        lengths = np.zeros(n_rows, dtype=np.int64)
        mean = np.zeros((n_rows, n_features))
        m2 = np.zeros((n_rows, n_features))
        row = 0
        with ExitStack() as stack:
            stream = stack.enter_context((work / "features.f32").open("wb"))
            targets = {name: stack.enter_context((work / _file(name)).open("wb")) for name in widths}
            for part in parts:
                columns = ["segment_id", "n_frames", "features", *widths]
                for batch in pq.ParquetFile(part).iter_batches(batch_size=64, columns=columns):
                    values = {name: batch.column(name) for name in columns}
                    for position in range(len(batch)):
                        where = f"{part}, segment {values['segment_id'][position].as_py()!r}"
                        count = values["n_frames"][position].as_py()
                        frames = _frames(values["features"][position], count, n_features, where)
                        frames.tofile(stream)
                        for name, width in widths.items():
                            _targets(values[name][position], len(frames), width, name, where).tofile(targets[name])
                        lengths[row] = len(frames)
                        mean[row] = frames.mean(axis=0, dtype=np.float64)
                        m2[row] = np.square(frames - mean[row]).sum(axis=0)
                        row += 1
            for handle in (stream, *targets.values()):
                handle.flush()
                os.fsync(handle.fileno())
        np.save(work / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
        np.save(work / "mean.npy", mean)
        np.save(work / "m2.npy", m2)
        if place.is_dir():  # another run was faster; same key, same content
            return
        work.rename(place)
        set_name = place.name.rsplit("-", 1)[0]
        for old in place.parent.glob(f"{set_name}-*"):  # an old version of this set: as large as the set itself
            if old != place and old.name.rsplit("-", 1)[0] == set_name:
                shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _frames(value: Any, n_frames: int | None, n_features: int, where: str) -> FloatArray:
    """One row's features as (n_frames, F) float32; raises InputError naming the segment."""
    flat = np.asarray(value.values if value.is_valid else [], dtype=np.float32)
    if not n_frames or flat.size != n_frames * n_features:
        raise InputError(
            f"{where}: {flat.size} feature values, expected n_frames {n_frames} x {n_features} and at least one frame"
        )
    if not np.isfinite(flat).all():
        raise InputError(f"{where}: features hold NaN or infinity; rebuild the acoustics of this segment")
    return flat.reshape(n_frames, n_features)


def _targets(value: Any, n_frames: int, width: int, column: str, where: str) -> npt.NDArray[Any]:
    """One row's targets as (n_frames, width), all NaN (or -1, of classes) where the row has none."""
    kind = FRAME_COLUMNS[column]
    if not value.is_valid:
        return np.full((n_frames, width), -1 if kind is np.int8 else np.nan, dtype=kind)
    flat = np.asarray(value.values.to_numpy(zero_copy_only=False), dtype=kind)  # null becomes NaN
    if flat.size != n_frames * width:
        raise InputError(f"{where}: {flat.size} {column} targets, expected n_frames {n_frames} x {width}")
    if np.isinf(flat).any():
        raise InputError(f"{where}: {column} targets hold infinity; rebuild the faces and shards of this segment")
    return flat.reshape(n_frames, width)
