"""Stage ``segments``: check the manifest, cut its clips, give every speaker a part of the split."""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import contracts
from pipeline.contracts import OK, QUARANTINED
from pipeline.engine.compute import Item, compute
from pipeline.engine.content import Source
from pipeline.engine.names import locate
from pipeline.engine.places import describe, records, table, writing
from pipeline.engine.progress import progress
from pipeline.engine.results import Results, check_failures
from pipeline.engine.tables import write_rows
from pipeline.engine.worker import Failure
from pipeline.errors import Missing, Quarantined, Transient
from pipeline.manifest.row import is_labelled
from pipeline.manifest.table import check_manifest
from pipeline.params import Params


def run_segments(params: Params, name: str) -> None:
    """Check the manifest and cut its clips into segments; every row ends up in the table, ok or with a reason."""
    with writing(table("segments", name), params.run.folder):
        results = _write_segments(params, name)
    check_failures(f"segments {name}", results, max_failed_share=params.run.max_failed_share)


def _write_segments(params: Params, name: str) -> Results:
    from pipeline.segments import SegmentsExtractor

    chosen = params.set(name)
    watched = getattr(params.watch, name)
    if not chosen.root.resolve().is_relative_to(watched.resolve()):
        print(
            f"note: DVC does not look at the files in {chosen.root}; name it in params.yaml, watch.{name}, or run "
            "`dvc repro -f segments` after a file has changed",
            file=sys.stderr,
        )
    manifest, problems = check_manifest(chosen.manifest, root=chosen.root)
    clips: dict[str, dict[str, Any]] = {row["clip_id"]: row for row in records(manifest)}
    media = {clip_id: locate(chosen.root.resolve() / row["path"]) for clip_id, row in clips.items()}
    hashes, unusable = _hash_all(name, media)
    unusable |= {problem.clip_id: Failure(str(problem.message), passing=False) for problem in problems}

    extractor = SegmentsExtractor(params.segments)
    items = []
    for clip_id, content in hashes.items():
        row = clips[clip_id]
        facts = {"start": row.get("start"), "end": row.get("end"), "labelled": is_labelled(row)}
        payload = {**facts, "media_path": str(media[clip_id]), "clip_id": clip_id, "content_hash": content}
        source = Source(str(media[clip_id]), content)
        items.append(Item(clip_id, {"content": content, **facts}, partial(dict, payload), source))
    results = compute("segments", extractor, items, schema=contracts.CLIP, run=params.run, id_column="clip_id")

    schema = contracts.segments(sorted(column for column in manifest.columns if column.startswith("votes_")))
    rows: list[dict[str, Any]] = []
    for clip_id in [*clips, *(other for other in unusable if other not in clips)]:
        origin = {key: value for key, value in clips.get(clip_id, {}).items() if key in schema.names}
        origin |= {"clip_id": clip_id, "segment_id": clip_id, "content_hash": hashes.get(clip_id)}
        if clip_id in unusable:
            rows.append({**origin, "status": QUARANTINED, "reason": unusable[clip_id].reason})
        else:
            rows += _segment_rows(origin, results.row(clip_id).to_pylist()[0])
    if name == "unlabelled":
        assign_split(rows, share=params.split.dev_share)
    write_rows(table("segments", name), rows, schema=schema, metadata=describe("segments", extractor))
    results.failed |= unusable
    results.keys |= dict.fromkeys(unusable, "")
    return results


def _segment_rows(origin: dict[str, Any], cut: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row a segment of one clip, or one row with the reason why it has none."""
    row = origin | {key: cut[key] for key in ("has_audio", "has_video", "fps", "sample_rate", "status", "reason")}
    if cut["status"] != OK:
        return [row]
    return [
        {**row, **piece, "segment_id": f"{origin['clip_id']}#{number:03d}"}
        for number, piece in enumerate(cut["segments"])
    ]


def _hash_all(name: str, media: dict[str, Path]) -> tuple[dict[str, str], dict[str, Failure]]:
    """Return clip id -> content hash, and clip id -> why of files that cannot be read as media at all."""
    from pipeline.media import content_hash

    hashes: dict[str, str] = {}
    unusable: dict[str, Failure] = {}

    def hash_clip(clip_id: str) -> None:
        try:
            hashes[clip_id] = content_hash(media[clip_id])
        except Quarantined as reason:
            # A file that is not there is a fault of the manifest as it stands; DVC sees it come (docs/faults.md).
            passing = isinstance(reason, Transient) and not isinstance(reason, Missing)
            unusable[clip_id] = Failure(str(reason), passing)
        except OSError as error:
            unusable[clip_id] = Failure(f"cannot be read: {error.strerror or error}", passing=True)

    # Hashing releases the interpreter lock, so threads are enough here.
    with progress(f"hash {name}", len(media)) as ticker, ThreadPoolExecutor() as pool:
        for _ in pool.map(hash_clip, media):
            ticker.advance()
    return hashes, unusable


def assign_split(segments: list[dict[str, Any]], *, share: float) -> None:
    """Give rows without a split one by speaker: ``dev`` for about ``share`` of the segments, else ``train``.

    Speakers are taken in the order of a hash of their names, and one that would overfill the share is passed
    over, so that a corpus of one large and several small speakers keeps the large one in training.

    Args:
        segments: rows of the segments table; those that are ok and have no split get one.
        share: of these rows that become ``dev``, at most.
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
