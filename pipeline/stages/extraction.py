"""The extraction stages in the order of the flow: segments, audio, acoustics, functionals, faces.

Each reads the table of the stage before it, asks the engine for what is missing, and packs a table folder
``data/<stage>/<set>``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline import contracts
from pipeline.engine.compute import Item, check_failures, compute
from pipeline.engine.tables import read_metadata
from pipeline.params import Params
from pipeline.stages.places import describe, index_rows, table, usable_segments


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
