"""What is handed on to other tools: a model as an ONNX file, a labelled set as a folder for Hugging Face's datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.files import replace_folder
from pipeline.engine.places import Rows, table
from pipeline.engine.tables import read_metadata
from pipeline.errors import InputError

GROUP = 64  # rows that are written together
_KEPT = ("segment_id", "clip_id", "corpus", "speaker", "fold", "label_source", "label_rule", "arousal", "valence",
         "dominance", "intensity", "language")  # fmt: skip


def export_dataset(shards: Path, out: Path, *, audio: Path | None = None) -> dict[str, int]:
    """Write a folder that ``datasets.load_dataset`` opens: FLAC sound, labels, speakers, splits.

    Splits are those of the column ``split`` where it is filled, else the folds, else one called ``train``.

    Args:
        shards: a shard folder.
        out: replaced as a whole.
        audio: the audio table of the same set; default: the one beside the shards (data/audio/<set>).

    Returns:
        Name of the split -> number of rows.

    Raises:
        InputError: a table is missing, or the extra ``hf`` is not installed.
    """
    try:
        from datasets import Audio, ClassLabel, Features, Value
    except ImportError as error:
        raise InputError(f"export --hf needs {error.name}: pip install '.[hf]' in the project's folder") from None
    audio = table("audio", shards.name) if audio is None else audio
    read_metadata(shards)  # says what is missing
    rows = _rows(shards)
    sound = Rows(audio, ok_only=True)
    rate = int(read_metadata(audio)["sample_rate"])
    names = sorted({row["emotion"] for row in rows if row.get("emotion")})
    features = Features(
        {"audio": Audio(sampling_rate=rate), "label": ClassLabel(names=names or ["none"])}
        | {name: Value("float64" if name in ("arousal", "valence", "dominance", "intensity") else "string")
           for name in _KEPT if any(row.get(name) is not None for row in rows)}
    )  # fmt: skip
    splits: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["segment_id"] in sound:
            splits.setdefault(_split(row), []).append(row)

    def write(work: Path) -> None:
        for split, members in splits.items():
            with pq.ParquetWriter(work / f"{split}.parquet", features.arrow_schema, compression="zstd") as sink:
                for batch in _batches(members, sound, list(features), names):
                    sink.write_table(pa.Table.from_pylist(batch, schema=features.arrow_schema))
        (work / "README.md").write_text(_card(splits, names, rows), encoding="utf-8")

    replace_folder(out, write)
    return {split: len(members) for split, members in splits.items()}


def _rows(shards: Path) -> list[dict[str, Any]]:
    """Scalar columns of all shard rows, in the order of their ids."""
    found: list[dict[str, Any]] = []
    for part in sorted(shards.glob("part-*.parquet")):
        schema = pq.read_schema(part)
        scalar = [field.name for field in schema if not pa.types.is_nested(field.type)]
        found += pq.read_table(part, columns=scalar).to_pylist()
    return sorted(found, key=lambda row: str(row["segment_id"]))


def _split(row: dict[str, Any]) -> str:
    name = row.get("split") or (f"fold_{row['fold']}" if row.get("fold") else "train")
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _batches(
    rows: list[dict[str, Any]], sound: Rows, columns: list[str], names: list[str]
) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(rows), GROUP):
        batch = []
        for row in rows[first : first + GROUP]:
            flac = sound[row["segment_id"]]["flac"][0].as_py()
            label = names.index(row["emotion"]) if row.get("emotion") else None
            own = {"audio": {"bytes": flac, "path": f"{row['segment_id']}.flac"}, "label": label}
            batch.append({name: own[name] if name in own else row.get(name) for name in columns})
        yield batch


def _card(splits: dict[str, list[dict[str, Any]]], names: list[str], rows: list[dict[str, Any]]) -> str:
    files = "\n".join(f"  - split: {split}\n    path: {split}.parquet" for split in splits)
    counts = "\n".join(
        f"| {split} | {len(members)} | {len({(row['corpus'], row['speaker']) for row in members})} |"
        for split, members in splits.items()
    )
    corpora = ", ".join(sorted({str(row["corpus"]) for row in rows}))
    return f"""---
configs:
- config_name: default
  data_files:
{files}
license: other
task_categories: [audio-classification]
---

# Speech with emotion labels: {corpora}

Written by avser (`avser export SHARDS --hf`). One row an utterance: mono FLAC, label, speaker.
Labels: {", ".join(names) or "none"}.
The terms of each corpus bind this copy; they may forbid to pass it on.

| split | utterances | speakers |
| --- | --- | --- |
{counts}
"""
