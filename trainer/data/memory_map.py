"""Features and targets of all frames as flat files that are mapped into memory.

They are streamed once, part by part, into the cache folder, so that random access costs neither memory nor a Parquet
page per utterance. Features are float32: several openSMILE descriptors (spectral variance) exceed what float16 holds.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import FloatArray
from trainer.data.parts import open_part, reading
from trainer.errors import InputError
from trainer.store import replace_folder, seal

Names = tuple[str, ...]
# Columns with targets on every frame; the metadata name their tracks (or, of viseme, its classes) under the same name.
FRAME_COLUMNS: dict[str, type[np.number[Any]]] = {"dense": np.float32, "mouth": np.float32, "viseme": np.int8}
_KINDS: dict[str, type[np.number[Any]]] = {"features": np.float32, **FRAME_COLUMNS}


def open_map(place: Path, column: str, n_frames: int, names: Names) -> npt.NDArray[Any]:
    """Map one column of `build` into memory: (n_frames, one per name), or (n_frames, 1) classes."""
    shape = (n_frames, _width(column, names))
    if not shape[1]:
        return np.zeros(shape, dtype=_KINDS[column])
    try:
        return np.memmap(place / _file(column), dtype=_KINDS[column], mode="r", shape=shape)
    except (FileNotFoundError, ValueError):
        raise InputError(f"{place} has gone while it was in use (other shards, or deleted): run again") from None


def build(
    parts: list[Path], place: Path, *, n_rows: int, feature_names: Names, frame_names: Mapping[str, Names]
) -> None:
    """Stream features and frame targets of ``parts``, together N rows, into the folder ``place``: <set>-<version>.

    It gets a flat file a column, offsets.npy, and mean.npy and m2.npy (N, F): mean and sum of squared deviations of
    every row's features. It is written next to its place, sealed and renamed, so that a killed run leaves nothing half
    and damage is seen. Older versions of the same set, which are as large as the set itself, are removed.
    """

    def fill(work: Path) -> None:
        _write(parts, work, n_rows=n_rows, feature_names=feature_names, frame_names=frame_names)
        seal(work)

    replace_folder(place, fill)
    set_name = place.name.rsplit("-", 1)[0]
    for old in place.parent.glob(f"{set_name}-*"):
        if old != place and old.name.rsplit("-", 1)[0] == set_name:
            shutil.rmtree(old, ignore_errors=True)


def _write(
    parts: list[Path], work: Path, *, n_rows: int, feature_names: Names, frame_names: Mapping[str, Names]
) -> None:
    widths = {"features": len(feature_names)} | {name: _width(name, names) for name, names in frame_names.items()}
    lengths = np.zeros(n_rows, dtype=np.int64)
    mean, m2 = np.zeros((2, n_rows, len(feature_names)))
    with ExitStack() as stack:
        files = {name: stack.enter_context((work / _file(name)).open("wb")) for name in widths}
        for row, values in enumerate(_rows(parts, widths)):
            for name, array in values.items():
                array.tofile(files[name])
            frames = values["features"]
            lengths[row] = len(frames)
            mean[row], m2[row] = moments(frames)
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    np.save(work / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
    np.save(work / "mean.npy", mean)
    np.save(work / "m2.npy", m2)


def moments(frames: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and sum of squared deviations, (F,) each, of frames (n, F)."""
    mean = frames.mean(axis=0, dtype=np.float64)
    return mean, np.square(frames - mean).sum(axis=0)


def _rows(parts: list[Path], widths: Mapping[str, int]) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield the checked values of every row: column to (frames, width)."""
    columns = ["segment_id", "n_frames", *widths]
    for part in parts:
        file = open_part(part)
        with reading(part):
            for batch in file.iter_batches(batch_size=64, columns=columns):
                for row in range(len(batch)):
                    cells = {name: batch.column(name)[row] for name in columns}
                    where = f"{part}, segment {cells['segment_id'].as_py()!r}"
                    n_frames = cells["n_frames"].as_py()
                    values = {"features": _features(cells["features"], n_frames, widths["features"], where)}
                    for name in columns[3:]:
                        values[name] = _targets(cells[name], n_frames, widths[name], name, where)
                    yield values


def _features(value: Any, n_frames: int | None, n_features: int, where: str) -> FloatArray:
    flat = np.asarray(value.values if value.is_valid else [], dtype=np.float32)
    if not n_frames or n_frames < 0 or flat.size != n_frames * n_features:
        raise InputError(
            f"{where}: {flat.size} feature values, expected n_frames {n_frames} x {n_features} and at least one frame"
        )
    if not np.isfinite(flat).all():
        raise InputError(f"{where}: features hold NaN or infinity; rebuild the acoustics of this segment")
    return flat.reshape(n_frames, n_features)


def _targets(value: Any, n_frames: int, width: int, column: str, where: str) -> npt.NDArray[Any]:
    """One row's targets, all NaN (or -1, of classes) where the row has none."""
    kind = FRAME_COLUMNS[column]
    if not value.is_valid:
        return np.full((n_frames, width), -1 if kind is np.int8 else np.nan, dtype=kind)
    flat = np.asarray(value.values.to_numpy(zero_copy_only=False), dtype=kind)  # null becomes NaN
    if flat.size != n_frames * width:
        raise InputError(f"{where}: {flat.size} {column} targets, expected n_frames {n_frames} x {width}")
    if np.isinf(flat).any():
        raise InputError(f"{where}: {column} targets hold infinity; rebuild the faces and shards of this segment")
    return flat.reshape(n_frames, width)


def _width(column: str, names: Names) -> int:
    """How many numbers a frame has in a column: one a name, or one class."""
    return min(1, len(names)) if _KINDS[column] is np.int8 else len(names)


def _file(column: str) -> str:
    return f"{column}.{'i8' if _KINDS[column] is np.int8 else 'f32'}"
