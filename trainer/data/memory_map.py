"""Features and targets of all frames as flat files that are mapped into memory.

They are streamed once, part by part, into the cache folder, so that random access costs neither memory nor a Parquet
page per utterance. Features lie there as float16, each divided by a power of two of its own: several openSMILE
descriptors (spectral variance) exceed what float16 holds, and others would fall below it. The pipeline's features have
9 significant bits, which float16 holds, so nothing is lost but what lies 2**39 times below a feature's largest value.
"""

from __future__ import annotations

import os
import shutil
import tempfile
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
_KINDS: dict[str, type[np.number[Any]]] = {"features": np.float16, **FRAME_COLUMNS}
LAYOUT = "f16."  # in the name of a map, so that one of another layout is not taken for it
_SUFFIX = {np.float16: "f16", np.float32: "f32", np.int8: "i8"}
_TOP = 15  # the largest value of a feature lies in [2**14, 2**15) when stored: float16 ends at 2**16
_LARGEST = np.float32((2 - 2.0**-10) * 2.0**127)  # of 11 significant bits
_BLOCK = 1 << 14  # frames written at once


class Frames:
    """Features of all frames, (total frames, F) on disk; indexing the frames gives float32.

    Args:
        stored: (total frames, F) float16, memory-mapped.
        exponents: (F,); a feature's values were divided by two to this power.
    """

    def __init__(self, stored: npt.NDArray[np.float16], exponents: npt.NDArray[np.int16]) -> None:
        self.stored = stored.view(np.ndarray)  # a plain array is indexed faster than a map
        self._scale = np.exp2(exponents.astype(np.float32))
        self.shape = stored.shape

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, frames: Any) -> FloatArray:
        """Return a copy of the frames at a slice or at indices of any shape, (..., F) float32."""
        import torch  # here: many who open shards never look at a frame

        picked = self.stored[frames]
        if not picked.flags.writeable:  # a slice is a view of the map, which torch warns of
            picked = picked.copy()
        # torch converts with the processor's own instruction, in a twentieth of numpy's time
        values: FloatArray = torch.from_numpy(picked).float().mul_(torch.from_numpy(self._scale)).numpy()
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)


def open_frames(place: Path, n_frames: int, names: Names) -> Frames:
    """Map the features of `build` into memory."""
    stored = open_map(place, "features", n_frames, names)
    return Frames(stored, np.load(place / "exponents.npy"))


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

    It gets a flat file a column, offsets.npy, exponents.npy (F,), see `Frames`, and mean.npy and m2.npy (N, F): mean
    and sum of squared deviations of every row's features. It is written next to its place, sealed and renamed, so that
    a killed run leaves nothing half and damage is seen. Older versions of the same set, which are as large as the set
    itself, are removed.
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
        wide = stack.enter_context(tempfile.TemporaryFile(dir=work))  # float32, until the largest values are known
        largest = np.zeros(len(feature_names), dtype=np.float32)
        for row, values in enumerate(_rows(parts, widths)):
            frames = _rounded(values.pop("features"))
            frames.tofile(wide)
            for name, array in values.items():
                array.tofile(files[name])
            lengths[row] = len(frames)
            mean[row], m2[row] = moments(frames)
            np.maximum(largest, np.abs(frames).max(axis=0), out=largest)
        exponents = np.maximum(np.frexp(largest)[1] - _TOP, -126).astype(np.int16)  # of a float32 that is no subnormal
        wide.seek(0)
        while (frames := np.fromfile(wide, np.float32, _BLOCK * len(feature_names))).size:
            np.ldexp(frames.reshape(-1, len(feature_names)), -exponents).astype(np.float16).tofile(files["features"])
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    np.save(work / "exponents.npy", exponents)
    np.save(work / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
    np.save(work / "mean.npy", mean)
    np.save(work / "m2.npy", m2)


def _rounded(frames: FloatArray) -> FloatArray:
    """Round to the 11 significant bits of float16, whatever the exponent: statistics are of what is stored."""
    mantissa, exponent = np.frexp(frames)
    with np.errstate(over="ignore"):
        values = np.ldexp(mantissa.astype(np.float16).astype(np.float32), exponent)
    return np.clip(values, -_LARGEST, _LARGEST)


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
    return f"{column}.{_SUFFIX[_KINDS[column]]}"
