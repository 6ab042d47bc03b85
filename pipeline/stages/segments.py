"""Stage ``segments``: check the manifest, cut its clips, give every speaker a part of the split."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import contracts
from pipeline.contracts import OK, QUARANTINED
from pipeline.engine.compute import Item, Items, compute
from pipeline.engine.content import Source
from pipeline.engine.names import locate
from pipeline.engine.packing import rows_table, write_frame
from pipeline.engine.places import Segments, describe, table, writing
from pipeline.engine.progress import progress
from pipeline.engine.results import Results, check_failures, sound
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
            f"`dvc repro -f segments@{name}` after a file has changed",
            file=sys.stderr,
        )
    manifest, problems = check_manifest(chosen.manifest, root=chosen.root)
    schema = contracts.segments(sorted(column for column in manifest.columns if column.startswith("votes_")))
    clips, root = Segments(pa.Table.from_pandas(manifest, preserve_index=False)), chosen.root.resolve()
    hashes, unusable = _hash_all(name, ((row["clip_id"], locate(root / row["path"])) for row in clips), len(clips))
    unusable |= {problem.clip_id: Failure(str(problem.message), passing=False) for problem in problems}
    extractor = SegmentsExtractor(params.segments)

    def item(row: dict[str, Any]) -> Item:
        facts = {"start": row.get("start"), "end": row.get("end"), "labelled": is_labelled(row)}
        path, content = str(locate(root / row["path"])), hashes[row["clip_id"]]
        payload = {**facts, "media_path": path, "clip_id": row["clip_id"], "content_hash": content}
        return Item(row["clip_id"], {"content": content, **facts}, partial(dict, payload), Source(path, content))

    readable = pc.is_in(clips.rows["clip_id"], pa.array(hashes, clips.rows["clip_id"].type))
    items = Items(Segments(clips.rows.filter(readable)), item)

    def write(results: Results) -> None:
        table_ = rows_table(_rows(clips, hashes, unusable, results, schema), schema)
        if name == "unlabelled":
            table_ = assign_split(table_, share=params.split.dev_share)
        write_frame(table("segments", name), table_, metadata=describe("segments", extractor))

    results = sound(
        lambda: compute("segments", extractor, items, schema=contracts.CLIP, run=params.run, id_column="clip_id"), write
    )
    results.add_failed(unusable)
    return results


def _rows(
    clips: Segments, hashes: Mapping[str, str], unusable: Mapping[str, Failure], results: Results, schema: pa.Schema
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table: of every clip of the manifest, and of the rows of it that are no clip."""
    left = dict(unusable)
    for row in clips:
        clip_id = row["clip_id"]
        origin = {key: value for key, value in row.items() if key in schema.names}
        origin |= {"segment_id": clip_id, "content_hash": hashes.get(clip_id)}
        if clip_id in left:
            yield {**origin, "status": QUARANTINED, "reason": left.pop(clip_id).reason}
        else:
            yield from _segment_rows(origin, results.row(clip_id).to_pylist()[0])
    for clip_id, failure in left.items():
        yield {"clip_id": clip_id, "segment_id": clip_id, "status": QUARANTINED, "reason": failure.reason}


def _segment_rows(origin: dict[str, Any], cut: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row a segment of one clip, or one row with the reason why it has none."""
    row = origin | {key: cut[key] for key in ("has_audio", "has_video", "fps", "sample_rate", "status", "reason")}
    if cut["status"] != OK:
        return [row]
    return [
        {**row, **piece, "segment_id": f"{origin['clip_id']}#{number:03d}"}
        for number, piece in enumerate(cut["segments"])
    ]


def _hash_all(name: str, media: Iterable[tuple[str, Path]], count: int) -> tuple[dict[str, str], dict[str, Failure]]:
    """Return clip id -> content hash, and clip id -> why of files that cannot be read as media at all."""
    from pipeline.media import content_hash

    hashes: dict[str, str] = {}
    unusable: dict[str, Failure] = {}

    def hash_clip(clip: tuple[str, Path]) -> None:
        clip_id, path = clip
        try:
            hashes[clip_id] = content_hash(path)
        except Quarantined as reason:
            # A file that is not there is a fault of the manifest as it stands; DVC sees it come (docs/faults.md).
            passing = isinstance(reason, Transient) and not isinstance(reason, Missing)
            unusable[clip_id] = Failure(str(reason), passing)
        except OSError as error:
            unusable[clip_id] = Failure(f"cannot be read: {error.strerror or error}", passing=True)

    # Hashing releases the interpreter lock, so threads are enough here.
    left = iter(media)
    with progress(f"hash {name}", count) as ticker, ThreadPoolExecutor() as pool:
        while batch := list(islice(left, 1024)):
            for _ in pool.map(hash_clip, batch):
                ticker.advance()
    return hashes, unusable


def assign_split(segments: pa.Table, *, share: float) -> pa.Table:
    """Give rows without a split one by speaker: ``dev`` for about ``share`` of the segments, else ``train``.

    Speakers are taken in the order of a hash of their names, and one that would overfill the share is passed
    over, so that a corpus of one large and several small speakers keeps the large one in training.

    Args:
        segments: rows of the segments table; those that are ok and have no split get one.
        share: of these rows that become ``dev``, at most.
    """
    rows = segments.select(["corpus", "speaker", "split", "status"]).to_pandas()
    is_open = (rows["split"].fillna("") == "") & (rows["status"] == OK)
    counts = rows[is_open].groupby(["corpus", "speaker"]).size()
    sizes = dict(zip(counts.index.tolist(), counts.tolist(), strict=True))
    left = share * int(is_open.sum())
    dev = set()
    for speaker in sorted(sizes, key=lambda who: hashlib.sha256("/".join(who).encode()).hexdigest()):
        if sizes[speaker] <= left:
            dev.add(speaker)
            left -= sizes[speaker]
    chosen = pd.MultiIndex.from_frame(rows[["corpus", "speaker"]]).isin(list(dev)) if dev else np.zeros(len(rows), bool)
    split = rows["split"].where(~is_open, np.where(chosen, "dev", "train"))
    place = segments.schema.get_field_index("split")
    return segments.set_column(place, segments.schema.field(place), pa.array(split, pa.string(), from_pandas=True))
