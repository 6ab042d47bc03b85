"""The extraction stages in the order of the flow: segments, audio, acoustics, functionals, faces.

Each reads the table of the stage before it, asks the engine for what is missing, and packs a table folder
``data/<stage>/<set>``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import contracts
from pipeline.engine.compute import OK, QUARANTINED, Item, check_failures, compute
from pipeline.errors import Quarantined
from pipeline.manifest.table import check_manifest
from pipeline.params import Params
from pipeline.engine.progress import progress
from pipeline.engine.tables import identity, parts, read_metadata, row_table, write_parts

DATA = Path("data")


def table(stage: str, name: str) -> Path:
    """Return the folder of a stage's table for one set."""
    return DATA / stage / name


def describe(stage: str, extractor: Any) -> dict[str, Any]:
    """Return what a table folder says of itself."""
    return {"stage": stage, "identity": identity(extractor), **extractor.metadata()}


def run_segments(params: Params, name: str) -> None:
    """Check the manifest and cut its clips into segments; every row ends up in the table, ok or with a reason."""
    from pipeline.segments import SegmentsExtractor

    chosen = params.set(name)
    rows, problems = check_manifest(chosen.manifest, root=chosen.root)
    clips: dict[str, dict[str, Any]] = {row["clip_id"]: row for row in records(rows)}
    media = {clip_id: chosen.root.resolve() / row["path"] for clip_id, row in clips.items()}
    hashes, unusable = _hash_all(name, media)
    unusable |= {problem.clip_id: str(problem.message) for problem in problems}

    extractor = SegmentsExtractor(params.segments)
    items = []
    for clip_id, content in hashes.items():
        row = clips[clip_id]
        facts = {"start": row.get("start"), "end": row.get("end"), "labelled": _labelled(row)}
        payload = {**facts, "media_path": str(media[clip_id]), "clip_id": clip_id, "content_hash": content}
        items.append(Item(clip_id, {"content": content, **facts}, partial(dict, payload)))
    results = compute("segments", extractor, items, schema=contracts.CLIP, run=params.run, id_column="clip_id")

    schema = contracts.segments(sorted(column for column in rows.columns if column.startswith("votes_")))
    segments: list[dict[str, Any]] = []
    for clip_id in [*clips, *(other for other in unusable if other not in clips)]:
        base = {key: value for key, value in clips.get(clip_id, {}).items() if key in schema.names}
        base |= {"clip_id": clip_id, "segment_id": clip_id, "content_hash": hashes.get(clip_id)}
        if clip_id in unusable:
            segments.append({**base, "status": QUARANTINED, "reason": unusable[clip_id]})
            continue
        cut = results.row(clip_id).to_pylist()[0]
        base |= {key: cut[key] for key in ("has_audio", "has_video", "fps", "sample_rate", "status", "reason")}
        if cut["status"] != OK:
            segments.append(base)
        for number, piece in enumerate(cut["segments"] or []):
            segments.append({**base, **piece, "segment_id": f"{clip_id}#{number:03d}"})
    if name == "unlabelled":
        assign_split(segments, share=params.split.dev_share)
    loaders = [(row["segment_id"], partial(row_table, row, schema), 512) for row in segments]
    write_parts(table("segments", name), loaders, schema=schema, metadata=describe("segments", extractor))
    results.failed |= unusable
    results.keys |= dict.fromkeys(unusable, "")
    check_failures(f"segments {name}", results, params.run)


def _hash_all(name: str, media: dict[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Return clip id -> content hash, and clip id -> reason of files that cannot be read as media at all."""
    from pipeline.media import content_hash

    hashes: dict[str, str] = {}
    unusable: dict[str, str] = {}

    def one(clip_id: str) -> None:
        try:
            hashes[clip_id] = content_hash(media[clip_id])
        except Quarantined as reason:
            unusable[clip_id] = str(reason)

    # Hashing releases the interpreter lock, so threads are enough here.
    with progress(f"hash {name}", len(media)) as ticker, ThreadPoolExecutor() as pool:
        for _ in pool.map(one, media):
            ticker.advance()
    return hashes, unusable


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dicts with None where a value is missing."""
    return [{str(k): None if pd.isna(v) else v for k, v in row.items()} for row in rows.to_dict("records")]


def _labelled(row: dict[str, Any]) -> bool:
    names = [column for column, _ in contracts.LABEL_COLUMNS if column not in ("label_source", "label_rule")]
    return any(row.get(column) not in (None, "") for column in names)


def assign_split(segments: list[dict[str, Any]], *, share: float) -> None:
    """Give rows without a split one by speaker: ``dev`` for about ``share`` of the segments, else ``train``.

    Speakers are taken in the order of a hash of their names, and one that would overfill the share is passed
    over, so that a corpus of one speaker and some others keeps its large speaker in training.
    """
    open_rows = [row for row in segments if not row.get("split") and row["status"] == OK]
    by_speaker: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in open_rows:
        by_speaker.setdefault((row["corpus"], row["speaker"]), []).append(row)
    left = share * len(open_rows)
    for speaker in sorted(by_speaker, key=lambda who: hashlib.sha256("/".join(who).encode()).hexdigest()):
        rows = by_speaker[speaker]
        split = "dev" if len(rows) <= left else "train"
        left -= len(rows) if split == "dev" else 0
        for row in rows:
            row["split"] = split


def usable_segments(name: str) -> list[dict[str, Any]]:
    """Return the ok rows of the segments table."""
    rows = pd.read_parquet(table("segments", name))
    return records(rows[rows["status"] == OK])


def run_audio(params: Params, name: str) -> None:
    """Decode every segment to 16 kHz mono FLAC."""
    from pipeline.audio import AudioExtractor

    _run_on_media(params, name, "audio", AudioExtractor(params.audio), contracts.AUDIO)


def run_faces(params: Params, name: str) -> None:
    """Find the face in every segment: landmarks, pose, action units."""
    from pipeline.faces.extractor import FacesExtractor

    _run_on_media(params, name, "faces", FacesExtractor(params.faces), contracts.FACES)


def _run_on_media(params: Params, name: str, stage: str, extractor: Any, schema: pa.Schema) -> None:
    root = params.set(name).root.resolve()
    items = []
    for row in usable_segments(name):
        facts = {"content": row["content_hash"], "start": row["start"], "end": row["end"]}
        payload = {key: row[key] for key in ("segment_id", "start", "end", "has_audio", "has_video")}
        payload["media_path"] = str(root / row["path"])
        items.append(Item(row["segment_id"], facts, partial(dict, payload)))
    results = compute(stage, extractor, items, schema=schema, run=params.run)
    results.write(table(stage, name), metadata=describe(stage, extractor))
    check_failures(f"{stage} {name}", results, params.run)


def run_acoustics(params: Params, name: str) -> None:
    """Compute low-level descriptors, energy and voicing from the audio table."""
    from pipeline.acoustics import AcousticsExtractor

    _run_on_audio(params, name, "acoustics", AcousticsExtractor(params.acoustics), contracts.ACOUSTICS)


def run_functionals(params: Params, name: str) -> None:
    """Sum up every segment in one vector a feature set, from the audio table."""
    from pipeline.functionals import FunctionalsExtractor

    _run_on_audio(params, name, "functionals", FunctionalsExtractor(params.functionals), contracts.FUNCTIONALS)


def _run_on_audio(params: Params, name: str, stage: str, extractor: Any, schema: pa.Schema) -> None:
    source = table("audio", name)
    upstream = read_metadata(source)["identity"]
    segments = {row["segment_id"]: row for row in usable_segments(name)}
    items = []
    for segment_id, load in index_rows(source, ok_only=True):
        row = segments[segment_id]
        facts = {"audio": upstream, "content": row["content_hash"], "start": row["start"], "end": row["end"]}
        items.append(Item(segment_id, facts, partial(_audio_payload, segment_id, load)))
    results = compute(stage, extractor, items, schema=schema, run=params.run)
    results.write(table(stage, name), metadata=describe(stage, extractor))
    check_failures(f"{stage} {name}", results, params.run)


def _audio_payload(segment_id: str, load: Callable[[], pa.Table]) -> dict[str, Any]:
    return {"segment_id": segment_id, "flac": load()["flac"][0].as_py()}


@lru_cache(maxsize=16)  # tables of different size are read side by side: one row group of each part in turn
def _row_group(path: Path, group: int, written: int) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group)


def _one_row(path: Path, group: int, index: int) -> pa.Table:
    # A table of the same name may be another one: written anew, or in another working folder.
    return _row_group(path.resolve(), group, path.stat().st_mtime_ns).slice(index, 1)


def index_rows(folder: Path, *, ok_only: bool) -> Iterator[tuple[str, Callable[[], pa.Table]]]:
    """Yield (segment id, loader of its one-row table) without reading the wide columns yet.

    Rows come in file order, so that loading them in that order reads each row group once.
    """
    for path in parts(folder):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["segment_id", "status"])
                for index, (segment_id, status) in enumerate(zip(*(c.to_pylist() for c in ids.columns), strict=True)):
                    if status == OK or not ok_only:
                        yield segment_id, partial(_one_row, path, group, index)
