"""How the synthetic speakers act: emotion, vigour and phonemes become a manner of speaking and face tracks.

Directions follow the literature (voice: Juslin & Laukka 2003; face: the rule table of FACS / EMFACS); all
sizes are ours, set so that the planted classes overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.synthetic.muscles import channel_tracks
from pipeline.synthetic.voice import Manner, Utterance


@dataclass(frozen=True)
class Emotion:
    """What an emotion does, on average, to voice and face."""

    units: tuple[str, ...]
    pitch: float  # steps on espeak-ng's 0..99 scale
    range: float  # the same
    rate: float  # factor
    level: float  # dB
    tilt: float  # dB above 1 kHz
    high_energy: float  # share of its clips with lively loudness
    high_activation: float  # share of its clips with a lively face


EMOTIONS = {
    "anger": Emotion(("AU04", "AU05", "AU07", "AU23"), 2, 12, 1.18, 6.0, 9.0, 0.75, 0.70),
    "happiness": Emotion(("AU06", "AU12"), 24, 36, 1.06, 1.5, 0.5, 0.70, 0.75),
    "sadness": Emotion(("AU01", "AU04", "AU15"), -14, -30, 0.78, -6.0, -5.0, 0.25, 0.20),
    "neutral": Emotion((), 0, 0, 1.00, 0.0, 0.0, 0.40, 0.40),
    "fear": Emotion(("AU01", "AU02", "AU04", "AU05", "AU07", "AU20", "AU26"), 26, -20, 1.26, -2.0, 2.0, 0.55, 0.60),
    "disgust": Emotion(("AU09", "AU15"), -14, 8, 0.88, 1.0, 5.0, 0.45, 0.40),
    "surprise": Emotion(("AU01", "AU02", "AU05", "AU26"), 36, 40, 0.92, 3.0, 0.0, 0.60, 0.60),
}

# Units that an emotion shows only in part: the jaw's other half is the speech's, grief frowns less than anger.
_PART = {("fear", "AU26"): 0.5, ("surprise", "AU26"): 0.5, ("sadness", "AU04"): 0.6}

# Targets of the mouth for each viseme, at full articulation.
_MOUTH = {
    "open": {"AU26": 0.75, "AU25": 0.75},
    "mid": {"AU26": 0.40, "AU25": 0.55},
    "spread": {"AU26": 0.15, "AU25": 0.45, "AU20": 0.20},
    "rounded": {"AU26": 0.30, "AU25": 0.40, "AU18": 0.80},
    "closed": {"AU24": 0.45},
    "labiodental": {"AU25": 0.12, "AU26": 0.08},
    "dental": {"AU25": 0.38, "AU26": 0.15},
    "alveolar": {"AU25": 0.32, "AU26": 0.12},
    "postalveolar": {"AU25": 0.38, "AU26": 0.12, "AU18": 0.40},
    "velar": {"AU25": 0.38, "AU26": 0.22},
    "silence": {},
}
_TRACK_RATE = 200  # Hz at which mouth targets are laid out before smoothing


@dataclass(frozen=True)
class Speaker:
    """Habits of one speaker: offsets of the voice and strength of expression."""

    name: str
    voice: str
    pitch: float
    range: float
    rate: float
    level: float
    tilt: float
    expressiveness: float


def draw_speaker(name: str, voice: str, rng: np.random.Generator) -> Speaker:
    """Draw a speaker's habits."""
    return Speaker(
        name=name,
        voice=voice,
        pitch=rng.normal(0, 4),
        range=rng.normal(0, 6),
        rate=rng.normal(1, 0.06),
        level=rng.normal(0, 1.0),
        tilt=rng.normal(0, 1.0),
        expressiveness=rng.uniform(0.8, 1.1),
    )


def draw_manner(
    speaker: Speaker, emotion: str, *, energy: bool, activation: bool, overlap: float, rng: np.random.Generator
) -> Manner:
    """Draw how one utterance is spoken.

    Args:
        speaker: habits of the voice.
        emotion: a key of ``EMOTIONS``.
        energy: the planted high (or low) class of loudness.
        activation: that of the face; a lively face comes with slightly louder, faster, more varied speech, so that
            the sound carries information about the face.
        overlap: 1: default spread between utterances, 0: none.
        rng: draws the rest.
    """
    kind = EMOTIONS[emotion]
    acted = 1 + overlap * rng.normal(0, 0.25)  # how much of the emotion this utterance shows
    lively = 1.0 if activation else -1.0
    return Manner(
        pitch=50 + speaker.pitch + acted * kind.pitch + overlap * rng.normal(0, 6),
        range=50 + speaker.range + acted * kind.range + 4 * lively + overlap * rng.normal(0, 8),
        rate=max(118.0, 168 * speaker.rate * kind.rate**acted * (1 + 0.02 * lively + overlap * rng.normal(0, 0.055))),
        level=-25 + speaker.level + acted * kind.level + 0.5 * lively + overlap * rng.normal(0, 1.6),
        tilt=speaker.tilt + acted * kind.tilt + 0.5 * lively + overlap * rng.normal(0, 1.4),
        swing=max(0.0, (4.5 if energy else 0.8) + overlap * rng.normal(0, 0.7)),
        evenness=0.0 if energy else 0.4,
    )


def face_tracks(
    utterance: Utterance,
    emotion: str,
    *,
    frames: int,
    fps: float,
    activation: bool,
    speaker: Speaker,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the planted intensities (frames, 21) of ``CHANNELS`` for one utterance.

    The emotion's units rise in the first fifth, hold, and fade a little at the end; speech moves the mouth.

    Args:
        utterance: phonemes and words with their times.
        emotion: a key of ``EMOTIONS``.
        frames: length of the tracks.
        fps: frames a second.
        activation: whether the face is lively: it articulates widely and flashes brows, lids, nose and chin; a still
            one mumbles and blinks.
        speaker: strength of expression.
        rng: draws the rest.
    """
    time = (np.arange(frames) + 0.5) / fps
    length = frames / fps
    articulation = rng.uniform(0.7, 1.1) if activation else rng.uniform(0.35, 0.65)
    mouth, closure = _mouth_tracks(utterance, time)
    tracks = {name: articulation * track for name, track in mouth.items()}

    rise, fall = rng.uniform(0.1, 0.25) * length, rng.uniform(0.8, 0.95) * length
    hold = _sigmoid((time - rise) / 0.08) * (1 - 0.5 * _sigmoid((time - fall) / 0.08))
    for name in EMOTIONS[emotion].units:
        strength = rng.uniform(0.6, 1.0) * speaker.expressiveness
        strength *= _PART.get((emotion, name), 1.0)
        sway = 1 + 0.12 * np.sin(2 * np.pi * (rng.uniform(0.2, 0.5) * time + rng.random()))
        shown = strength * hold * sway
        # Lips that must touch (p, b, m) close whatever the emotion.
        tracks[name] = tracks.get(name, 0.0) + shown * (1 - closure if name == "AU26" else 1.0)

    def add(name: str, moment: float, strength: float, half: float) -> None:
        bump = strength * np.clip(1 - np.abs(time - moment) / half, 0, 1)
        tracks[name] = np.maximum(tracks.get(name, 0.0), bump) if name == "AU43" else tracks.get(name, 0.0) + bump

    for _ in range(rng.poisson((0.5 if activation else 0.25) * length)):  # blinks, a few in ten seconds
        add("AU43", rng.uniform(0, length), 1.0, 0.12)
    if activation:
        for word in utterance.words:
            if rng.random() < 0.6:
                unit = rng.choice(["AU01", "AU02", "AU04", "AU06", "AU07", "AU10", "AU14", "AU17", "AU23"])
                add(str(unit), word + 0.1, rng.uniform(0.35, 0.7), rng.uniform(0.12, 0.22))
    return np.clip(channel_tracks(frames, tracks), 0.0, 1.2)


def _mouth_tracks(utterance: Utterance, time: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return tracks of the mouth units at ``time`` and how far the lips must be closed (0..1)."""
    from scipy.ndimage import convolve1d, maximum_filter1d

    count = int(time[-1] * _TRACK_RATE) + 2
    names = sorted({unit for targets in _MOUTH.values() for unit in targets})
    targets, closed = np.zeros((len(names), count)), np.zeros(count)
    for sound in utterance.phonemes:
        # The mouth leads the sound by about 40 ms (anticipatory coarticulation).
        span = slice(max(int((sound.start - 0.04) * _TRACK_RATE), 0), max(int((sound.end - 0.04) * _TRACK_RATE), 0))
        for name, value in _MOUTH[sound.viseme].items():
            targets[names.index(name), span] = value
        closed[span] = sound.viseme == "closed"
    window = np.hanning(int(0.12 * _TRACK_RATE) + 2)[1:-1]
    smooth = convolve1d(targets, window / window.sum(), axis=1, mode="nearest")
    # A closure is shorter than the smoothing and shorter than a frame: widen it so that it is seen.
    closed = maximum_filter1d(closed, int(0.06 * _TRACK_RATE))
    short = np.hanning(int(0.05 * _TRACK_RATE) + 2)[1:-1]
    closed = convolve1d(closed, short / short.sum(), mode="nearest")
    at = time * _TRACK_RATE
    grid = np.arange(count)
    shut = np.interp(at, grid, closed)
    tracks = {name: np.interp(at, grid, row) for name, row in zip(names, smooth, strict=True)}
    for name in ("AU25", "AU26"):
        tracks[name] = tracks[name] * (1 - (1.0 if name == "AU25" else 0.8) * shut)
    return tracks, shut


def head_track(*, frames: int, fps: float, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Return slow in-plane head motion (frames, 4): relative size, roll in degrees, shift right and down.

    Args:
        frames: length of the track.
        fps: frames a second.
        amount: 1: up to about 4 % size, 5 degrees and 3 % of the canvas; 0: the head stays still.
        rng: draws the motion.
    """
    time = np.arange(frames) / fps
    reach = amount * np.array([0.02, 2.5, 0.015, 0.012])
    motion = np.zeros((frames, 4))
    for column in range(4):
        for share in (0.65, 0.35):
            motion[:, column] += share * np.sin(2 * np.pi * (rng.uniform(0.15, 0.6) * time + rng.random()))
    motion = 2 * reach * motion
    motion[:, 0] += 1
    return motion


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
