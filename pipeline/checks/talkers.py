"""How often the talking face is taken: films of two clips side by side, with the voice of one of them.

Both faces talk, only one fits the sound, so nothing but that can tell them apart. A clip shares films with others of
the same folder; which side the voice belongs to alternates, as does which of the two clips it is.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from pipeline.engine.progress import progress
from pipeline.errors import InputError, Quarantined
from pipeline.faces.backends import BACKENDS
from pipeline.faces.config import FacesConfig
from pipeline.faces.tracking.talking import sound_of
from pipeline.media import ffmpeg_exe, frames, probe
from pipeline.media.files import PROTOCOLS, url

T = TypeVar("T")

_HEIGHT = 360  # px of the films
_FPS = 25
_TAKEN = 0.5  # share of the frames with a face in which a clip's face must be followed


@dataclass(frozen=True)
class Film:
    """Two clips side by side: paths of both, which side talks, and which face was taken."""

    left: Path
    right: Path
    talker: str  # "left" | "right"
    n_faces: int
    rule: str
    score: float
    taken: str  # "left" | "right"
    whole: bool  # one shot with two faces, so that there was one choice to make


def find_clips(folder: Path) -> list[Path]:
    """Return the files below a folder that have sound and film, in order of name.

    Raises:
        InputError: there are fewer than two.
    """
    clips = []
    for path in sorted(folder.rglob("*")):
        try:
            info = probe(path) if path.is_file() else None
        except Quarantined:
            continue
        if info is not None and info.has_audio and info.has_video:
            clips.append(path)
    if len(clips) < 2:
        raise InputError(f"{folder} has fewer than two clips with sound and film")
    return clips


def spaced(items: list[T], limit: int | None) -> list[T]:
    """Return at most ``limit`` of the items, evenly chosen.

    >>> spaced(list("abcde"), 3)
    ['a', 'c', 'e']
    """
    if limit is None or limit >= len(items):
        return items
    return [items[index] for index in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def join_films(left: Path, right: Path, voice: Path, output: Path, *, seconds: float) -> None:
    """Write a film of two clips side by side, as long as the shorter one, with the sound of ``voice``."""
    import ffmpeg

    length = min(seconds, *(probe(path).duration for path in (left, right)))
    options = {"protocol_whitelist": PROTOCOLS, "t": length}
    # A clip's picture may begin after its sound; both are put on the clip's own clock first.
    halves = [
        ffmpeg.input(url(path), **options)
        .video.filter("fps", _FPS, start_time=0)
        .filter("scale", -2, _HEIGHT)
        .filter("setsar", 1)
        for path in (left, right)
    ]
    picture = ffmpeg.filter(halves, "hstack", shortest=1)
    sound = ffmpeg.input(url(voice), **options).audio.filter("aresample", **{"async": 1, "first_pts": 0})
    codec = {"vcodec": "libx264", "preset": "veryfast", "crf": 20, "acodec": "aac"}
    command = ffmpeg.output(picture, sound, str(output), t=length, loglevel="error", **codec).compile(
        cmd=ffmpeg_exe(), overwrite_output=True
    )
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise InputError(f"ffmpeg cannot join {left} and {right}: {done.stderr.strip()[-300:]}")


def pairs(count: int, *, rounds: int) -> Iterator[tuple[int, int]]:
    """Yield (talker, other) such that every clip talks once a round, and with another one each round.

    >>> list(pairs(3, rounds=2))
    [(0, 1), (1, 2), (2, 0), (0, 2), (1, 0), (2, 1)]
    """
    for step in range(1, min(rounds, count - 1) + 1):
        for talker in range(count):
            yield talker, (talker + step) % count


def take_face(left: Path, right: Path, talker: str, config: FacesConfig, *, seconds: float) -> Film | None:
    """Make one film and return which face is taken; None if no face is found."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        join_films(left, right, left if talker == "left" else right, film, seconds=seconds)
        pictures = frames(film, max_fps=config.max_fps, max_height=config.max_height)
        track = BACKENDS[config.backend](config)(pictures, sound_of(film, start=0.0, end=None))
        width = probe(film).width or 0
    middle = track.points[:, :, 0].mean(axis=1)
    middle = middle[np.isfinite(middle)]
    if not len(middle):
        return None
    edge = width * _share(left, right)
    cut = track.parted is not None and bool(track.parted.any())
    return Film(
        left,
        right,
        talker,
        track.n_faces,
        track.chosen_by,
        track.talk_score,
        taken="left" if (middle < edge).mean() > _TAKEN else "right",
        whole=track.n_faces == 2 and not cut,
    )


def _share(left: Path, right: Path) -> float:
    """Return which share of the film's width is the left clip's."""
    shapes = [(info.width or 1) / (info.height or 1) for info in (probe(left), probe(right))]
    return shapes[0] / sum(shapes)


def take_films(folder: Path, config: FacesConfig, *, seconds: float, rounds: int, limit: int | None) -> list[Film]:
    """Return which face is taken in the films of a folder's clips.

    Args:
        folder: clips that show one talking face each.
        config: of the faces stage.
        seconds: longest film, s.
        rounds: films in which each clip talks.
        limit: most films, evenly chosen; None: all.

    Raises:
        InputError: the folder has fewer than two clips.
    """
    clips = find_clips(folder)
    planned = spaced(list(pairs(len(clips), rounds=rounds)), limit)
    films = []
    with progress(f"films of {folder.name}", len(planned)) as ticker:
        for number, (talker, other) in enumerate(planned):
            side = ("left", "right")[number % 2]
            left, right = (talker, other) if side == "left" else (other, talker)
            film = take_face(clips[left], clips[right], side, config, seconds=seconds)
            films += [film] if film else []
            ticker.advance()
    return films


def summarise(films: list[Film]) -> pd.DataFrame:
    """Return how often the talker was taken, by the rule that decided, over films of one shot with two faces."""
    table = pd.DataFrame([vars(film) for film in films], columns=list(Film.__dataclass_fields__))
    table = table[table["whole"]].assign(correct=lambda rows: rows["taken"] == rows["talker"])
    groups = [*table.groupby("rule"), ("all", table)]
    return pd.DataFrame(
        {
            "films": [len(rows) for _, rows in groups],
            "talker taken": [rows["correct"].mean() for _, rows in groups],
            "talker on the left": [(rows["talker"] == "left").mean() for _, rows in groups],
            "left taken": [(rows["taken"] == "left").mean() for _, rows in groups],
            "talk score": [rows["score"].mean() for _, rows in groups],
        },
        index=pd.Index([name for name, _ in groups], name="rule"),
    )
