"""What the extraction stages share: audio and faces start from media files, acoustics and functionals from sound.

Each has a file of its name in this folder. It reads the table of the stage before it, asks the engine for what is
missing, and packs a table folder ``data/<stage>/<set>``. What an item's cache facts and payload are is decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline import contracts
from pipeline.engine.compute import Item, Items, RunConfig, compute
from pipeline.engine.content import Source
from pipeline.engine.names import locate
from pipeline.engine.places import (
    Rows,
    Segments,
    check_made_from,
    describe,
    fingerprint,
    table,
    usable_segments,
    writing,
)
from pipeline.engine.results import Results, check_failures, sound
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
    items: Collection[Item],
    *,
    run: RunConfig,
    folder: Path,
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> Results:
    """Compute items from `media_items` or `audio_items` and write the table of the stage, with ``metadata`` also."""
    schema = (FROM_MEDIA | FROM_AUDIO)[stage]
    about = {**describe(stage, extractor), **metadata}
    return sound(
        lambda: compute(stage, extractor, items, schema=schema, run=run),
        lambda results: results.write(folder, metadata=about),
    )


def media_items(segments: Collection[Mapping[str, Any]], root: Path) -> Collection[Item]:
    """Return an item a segment that is read from its media file.

    Args:
        segments: ok rows of the segments table.
        root: folder that their ``path`` starts from; an absolute ``path`` stays what it is.
    """

    def item(row: Mapping[str, Any]) -> Item:
        payload = {key: row[key] for key in ("segment_id", "start", "end", "has_audio", "has_video")}
        payload["media_path"] = str(locate(root / row["path"]))
        source = Source(payload["media_path"], row["content_hash"])
        return Item(row["segment_id"], _facts(row), partial(dict, payload), source)

    return Items(segments, item)


def audio_items(segments: Segments, audio: Path) -> Collection[Item]:
    """Return an item a segment whose sound is in the table folder ``audio``."""
    upstream = read_metadata(audio)["identity"]
    rows = Rows(audio, ok_only=True)
    about = Segments(segments.rows.select(["segment_id", "content_hash", "start", "end"]))

    def item(segment_id: str) -> Item:
        facts = {"audio": upstream, **_facts(about.by_id(segment_id))}
        return Item(segment_id, facts, partial(_audio_payload, segment_id, rows))

    return Items(rows, item)


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": row["content_hash"], "start": row["start"], "end": row["end"]}


def _audio_payload(segment_id: str, audio: Rows) -> dict[str, Any]:
    return {"segment_id": segment_id, "flac": audio[segment_id]["flac"][0].as_py()}
