"""The same films degraded: fewer frames, harder compression, half the size; all through the real stages."""

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

from pipeline.acoustics import AcousticsExtractor
from pipeline.audio import AudioExtractor
from pipeline.engine.files import replace_file
from pipeline.engine.identity import digest
from pipeline.engine.places import Segments
from pipeline.engine.progress import progress
from pipeline.engine.tables import iter_rows
from pipeline.errors import InputError
from pipeline.faces.extractor import FacesExtractor
from pipeline.labels.measure import ACOUSTIC_COLUMNS, FACE_COLUMNS, Measured, measure
from pipeline.media import content_hash, ffmpeg_exe
from pipeline.params import Params
from pipeline.stages.extraction import audio_items, extract, media_items
from pipeline.stages.pseudo_labels import ORIGIN


@dataclass(frozen=True)
class Degradation:
    """How films are degraded; re-encoded ones have the sound as AAC at 64 kbit/s."""

    name: str
    max_fps: float | None = None  # Hz, ``faces.max_fps`` instead of the configured one
    crf: int | None = None  # x264 quality of a real re-encoding (23 is its default, 32 poor)
    shrink: int = 1  # each side of the picture is divided by this when re-encoded


def measure_degraded(params: Params, segments: Sequence[dict[str, Any]], degradation: Degradation) -> Measured:
    """Run audio, acoustics and faces on the degraded films and measure the segments.

    Finished items come from the engine's cache, so the unchanged films cost nothing after ``dvc repro``.

    Args:
        params: the configured pipeline.
        segments: ok rows of the segments table.
        degradation: what is done to the films before they are processed.
    """
    root, run = params.sets.unlabelled.root.resolve(), params.run
    rows = [{**row, "path": root / row["path"]} for row in segments]
    if degradation.crf is not None:
        rows = _encoded(rows, run.folder.resolve() / "worse", degradation.crf, degradation.shrink)
    faces = params.faces
    if degradation.max_fps is not None:
        faces = faces.model_copy(update={"max_fps": degradation.max_fps})
    acoustics = AcousticsExtractor(params.acoustics)
    with tempfile.TemporaryDirectory() as folder:
        audio, sound, face = (Path(folder) / stage for stage in ("audio", "acoustics", "faces"))
        sound_of = Segments.of({**row, "path": str(row["path"])} for row in rows)
        extract("audio", AudioExtractor(params.audio), media_items(rows, root), run=run, folder=audio)
        extract("acoustics", acoustics, audio_items(sound_of, audio), run=run, folder=sound)
        extract("faces", FacesExtractor(faces), media_items(rows, root), run=run, folder=face)
        return measure(
            pd.DataFrame(rows)[ORIGIN],
            acoustics=iter_rows(sound, ACOUSTIC_COLUMNS),
            faces=iter_rows(face, FACE_COLUMNS),
            frame_period=acoustics.metadata()["frame_period"],
            frame_size=acoustics.metadata()["frame_size"],
            config=params.labels,
        )


def _encoded(rows: list[dict[str, Any]], cache: Path, crf: int, shrink: int) -> list[dict[str, Any]]:
    """Re-encode the rows' films (once each, kept under ``cache``); return rows that point at the new files."""
    films = {row["content_hash"]: row["path"] for row in rows}
    made = {content: cache / f"{digest([content, crf, shrink])[:32]}.mkv" for content in films}

    def encode(content: str) -> None:
        if not made[content].exists():
            replace_file(made[content], partial(_encode, films[content], crf=crf, shrink=shrink))

    with progress(f"re-encode crf {crf}", len(films)) as ticker, ThreadPoolExecutor(2) as pool:
        for _ in pool.map(encode, films):
            ticker.advance()
    hashes = {content: content_hash(path) for content, path in made.items()}
    return [row | {"path": made[row["content_hash"]], "content_hash": hashes[row["content_hash"]]} for row in rows]


def _encode(source: Path, target: Path, *, crf: int, shrink: int) -> None:
    # Frames keep their own times (a film of variable rate stays one), and start where they started.
    size = f"scale=2*trunc(iw/{2 * shrink}):2*trunc(ih/{2 * shrink})"
    command = [ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y", "-i", str(source), "-map", "0:v:0",
               "-map", "0:a:0", "-vf", size, "-fps_mode", "passthrough", "-c:v", "libx264", "-preset", "veryfast",
               "-crf", str(crf), "-threads", "1", "-c:a", "aac", "-b:a", "64k", "-f", "matroska",
               str(target)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise InputError(f"ffmpeg cannot re-encode {source}: {done.stderr.strip()[:500]}")
