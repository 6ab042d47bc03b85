"""What the extraction stages share: audio and faces start from media files, acoustics and functionals from sound.

Each has a file of its name in this folder. It reads the table of the stage before it, asks the engine for what is
missing, and packs a table folder ``data/<stage>/<set>``. What an item's cache facts and payload are is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from pipeline import contracts
from pipeline.engine.compute import Item, RunConfig, compute
from pipeline.engine.content import Source
from pipeline.engine.names import locate
from pipeline.engine.places import check_made_from, describe, fingerprint, index_rows, table, usable_segments, writing
from pipeline.engine.results import Results, check_failures
from pipeline.engine.tables import read_metadata
from pipeline.params import Params

FROM_MEDIA = {"audio": contracts.AUDIO, "faces": contracts.FACES}
FROM_AUDIO = {"acoustics": contracts.ACOUSTICS, "functionals": contracts.FUNCTIONALS}


def run_extraction(params: Params, name: str, stage: str, extractor: Any) -> None:
    """Run an extractor over the usable segments of a set and write the table of its stage.

    Raises:
        InputError: the table of the stage before is missing or of other segments, too many segments were quarantined,
            or some for passing reasons.
    """
    folder = table(stage, name)
    with writing(folder, params.run.folder):
        segments = usable_segments(name)
        if stage in FROM_MEDIA:
            items = media_items(segments, params.set(name).root.resolve())
        else:
            check_made_from(table("audio", name), segments)
            items = audio_items(segments, table("audio", name))
        made_from = {"segments": fingerprint(segments)}
        results = extract(stage, extractor, items, run=params.run, folder=folder, metadata=made_from)
    check_failures(f"{stage} {name}", results, max_failed_share=params.run.max_failed_share)


def extract(
    stage: str,
    extractor: Any,
    items: list[Item],
    *,
    run: RunConfig,
    folder: Path,
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> Results:
    """Compute items from `media_items` or `audio_items` and write the table of the stage, with ``metadata`` also."""
    results = compute(stage, extractor, items, schema=(FROM_MEDIA | FROM_AUDIO)[stage], run=run)
    results.write(folder, metadata={**describe(stage, extractor), **metadata})
    return results


def media_items(segments: Iterable[Mapping[str, Any]], root: Path) -> list[Item]:
    """Return an item a segment that is read from its media file.

    Args:
        segments: ok rows of the segments table.
        root: folder that their ``path`` starts from; an absolute ``path`` stays what it is.
    """
    items = []
    for row in segments:
        payload = {key: row[key] for key in ("segment_id", "start", "end", "has_audio", "has_video")}
        payload["media_path"] = str(locate(root / row["path"]))
        source = Source(payload["media_path"], row["content_hash"])
        items.append(Item(row["segment_id"], _facts(row), partial(dict, payload), source))
    return items


def audio_items(segments: Iterable[Mapping[str, Any]], audio: Path) -> list[Item]:
    """Return an item a segment whose sound is in the table folder ``audio``."""
    upstream = read_metadata(audio)["identity"]
    rows = {row["segment_id"]: row for row in segments}
    return [
        Item(segment_id, {"audio": upstream, **_facts(rows[segment_id])}, partial(_audio_payload, segment_id, load))
        for segment_id, load in index_rows(audio, ok_only=True)
    ]


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": row["content_hash"], "start": row["start"], "end": row["end"]}


def _audio_payload(segment_id: str, load: Callable[[], pa.Table]) -> dict[str, Any]:
    return {"segment_id": segment_id, "flac": load()["flac"][0].as_py()}
