"""The same films seen worse: fewer frames, harder compression, half the size; all through the real stages."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import contracts
from pipeline.acoustics import AcousticsExtractor
from pipeline.audio import AudioExtractor
from pipeline.contracts import OK
from pipeline.engine.compute import Item, compute
from pipeline.engine.files import replace_file
from pipeline.engine.identity import digest, identity
from pipeline.engine.progress import progress
from pipeline.engine.tables import iter_rows
from pipeline.errors import InputError
from pipeline.faces.extractor import FacesExtractor
from pipeline.labels.measure import ACOUSTIC_COLUMNS, FACE_COLUMNS, Measured, measure
from pipeline.media import content_hash, ffmpeg_exe
from pipeline.params import Params

ORIGIN = ["segment_id", "clip_id", "corpus", "speaker", "split"]


@dataclass(frozen=True)
class Worse:
    """How films are made worse.

    Attributes:
        name: what people call it.
        max_fps: Hz, ``faces.max_fps`` instead of the configured one.
        crf: x264 quality of a real re-encoding (23 is its default, 32 poor), with the sound as AAC at 64 kbit/s.
        shrink: each side of the picture is divided by this when re-encoded.

    """

    name: str
    max_fps: float | None = None
    crf: int | None = None
    shrink: int = 1


def watch(params: Params, segments: Sequence[dict[str, Any]], how: Worse) -> Measured:
    """Run audio, acoustics and faces on the worsened films and measure the segments.

    Finished items come from the engine's cache, so the unchanged films cost nothing after ``dvc repro``.

    Args:
        params: the configured pipeline.
        segments: ok rows of the segments table.
        how: what is done to the films before they are seen.

    """
    root = params.sets.unlabelled.root.resolve()
    rows = [dict(row, media_path=root / row["path"]) for row in segments]
    if how.crf is not None:
        rows = _encoded(rows, params.run.cache / "worse", how.crf, how.shrink)
    faces = params.faces if how.max_fps is None else params.faces.model_copy(update={"max_fps": how.max_fps})
    with tempfile.TemporaryDirectory() as folder:
        audio, sound, face = (Path(folder) / stage for stage in ("audio", "acoustics", "faces"))
        _media_stage("audio", AudioExtractor(params.audio), rows, params, audio)
        acoustics = AcousticsExtractor(params.acoustics)
        _acoustics(acoustics, rows, params, audio, sound)
        _media_stage("faces", FacesExtractor(faces), rows, params, face)
        return measure(
            pd.DataFrame(rows)[ORIGIN],
            acoustics=iter_rows(sound, ACOUSTIC_COLUMNS),
            faces=iter_rows(face, FACE_COLUMNS),
            frame_period=acoustics.metadata()["frame_period"],
            config=params.labels,
        )


def _media_stage(stage: str, extractor: Any, rows: list[dict[str, Any]], params: Params, folder: Path) -> None:
    items = []
    for row in rows:
        facts = {"content": row["content_hash"], "start": row["start"], "end": row["end"]}
        payload = {key: row[key] for key in ("segment_id", "start", "end", "has_audio", "has_video")}
        items.append(Item(row["segment_id"], facts, partial(dict, payload, media_path=str(row["media_path"]))))
    schema = {"audio": contracts.AUDIO, "faces": contracts.FACES}[stage]
    compute(stage, extractor, items, schema=schema, run=params.run).write(folder, metadata={})


def _acoustics(extractor: Any, rows: list[dict[str, Any]], params: Params, audio: Path, folder: Path) -> None:
    upstream = identity(AudioExtractor(params.audio))
    where = {row["segment_id"]: row for row in rows}
    items = []
    for row in iter_rows(audio, ["segment_id", "status", "flac"]):
        if row["status"] == OK:
            of = where[row["segment_id"]]
            facts = {"audio": upstream, "content": of["content_hash"], "start": of["start"], "end": of["end"]}
            payload = {"segment_id": row["segment_id"], "flac": row["flac"]}
            items.append(Item(row["segment_id"], facts, partial(dict, payload)))
    results = compute("acoustics", extractor, items, schema=contracts.ACOUSTICS, run=params.run)
    results.write(folder, metadata={})


def _encoded(rows: list[dict[str, Any]], cache: Path, crf: int, shrink: int) -> list[dict[str, Any]]:
    """Re-encode the rows' films (once each, kept under ``cache``); return rows that point at the new files."""
    films = {row["content_hash"]: row["media_path"] for row in rows}
    made: dict[str, Path] = {}

    def one(content: str) -> None:
        made[content] = cache / f"{digest([content, crf, shrink])[:32]}.mkv"
        if not made[content].exists():
            replace_file(made[content], partial(_encode, films[content], crf=crf, shrink=shrink))

    with progress(f"re-encode crf {crf}", len(films)) as ticker, ThreadPoolExecutor(2) as pool:
        for _ in pool.map(one, films):
            ticker.advance()
    hashes = {content: content_hash(path) for content, path in made.items()}
    return [
        row | {"media_path": made[row["content_hash"]], "content_hash": hashes[row["content_hash"]]} for row in rows
    ]


def _encode(source: Path, target: Path, *, crf: int, shrink: int) -> None:
    # Frames keep their own times (a film of variable rate stays one), and start where they started.
    size = f"scale=2*trunc(iw/{2 * shrink}):2*trunc(ih/{2 * shrink})"
    command = [ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y", "-i", str(source), "-map", "0:v:0",
               "-map", "0:a:0", "-vf", size, "-fps_mode", "passthrough", "-c:v", "libx264", "-preset", "veryfast",
               "-crf", str(crf), "-threads", "1", "-c:a", "aac", "-b:a", "64k", "-f", "matroska",
               str(target)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"ffmpeg cannot re-encode {source}: {done.stderr.strip()[:500]}")
