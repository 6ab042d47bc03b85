"""The synthetic voices and the acting: deterministic, and what is planted can be heard and seen in the tracks."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.orofacial.visemes import PHONE_CLASS
from pipeline.synthetic.acting import EMOTIONS, draw_manner, draw_speaker, face_tracks, head_track
from pipeline.synthetic.muscles import CHANNELS
from pipeline.synthetic.sentences import _DID, _WHEN, _WHERE, _WHO, sentence
from pipeline.synthetic.voice import RATE, VISEMES, VOICES, Manner, Phoneme, Utterance, speak

TEXT = "My mother and Bob map the blue papers near the wooden table."
MANNER = Manner(pitch=50, range=50, rate=170, level=-25, tilt=0, swing=0, evenness=0)


def say(text: str = TEXT, voice: str = "en-us+f1", **changes: float) -> Utterance:
    return speak(text, voice=voice, manner=replace(MANNER, **changes), rng=np.random.default_rng(3), noise=-70)


def level(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(samples, dtype=float)))


def pitch(samples: np.ndarray) -> float:
    """Median fundamental by autocorrelation, Hz."""
    lags = slice(RATE // 400, RATE // 60)
    found = []
    for start in range(0, len(samples) - 1600, 800):
        part = samples[start : start + 1600].astype(float)
        if level(part) > -30:
            similar = np.correlate(part, part, "full")[1599:]
            found.append(RATE / (lags.start + np.argmax(similar[lags])))
    return float(np.median(found))


def swing(samples: np.ndarray) -> float:
    """Standard deviation of the level of the louder 100 ms blocks, dB."""
    blocks = samples[: len(samples) // 2205 * 2205].reshape(-1, 2205).astype(float)
    levels = 10 * np.log10((blocks**2).mean(1))
    return float(levels[levels > levels.max() - 30].std())


def test_an_utterance_does_not_depend_on_what_was_said_before() -> None:
    first = say()
    say("Something else, with a question?", voice="gmw/en+m3", rate=300, pitch=90)
    assert np.array_equal(say().samples, first.samples)
    assert say().phonemes == first.phonemes
    # A fresh process agrees.
    code = (
        "import hashlib, numpy as np; from pipeline.synthetic.voice import *;"
        f"u = speak({TEXT!r}, voice='en-us+f1', manner={MANNER!r}, rng=np.random.default_rng(3), noise=-70);"
        "print(hashlib.sha256(u.samples.tobytes()).hexdigest())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == hashlib.sha256(first.samples.tobytes()).hexdigest()


def test_manner_is_heard() -> None:
    plain = say()
    assert level(say(level=-15).samples) - level(plain.samples) == pytest.approx(10, abs=0.5)
    assert pitch(say(pitch=80).samples) > 1.15 * pitch(plain.samples)
    assert len(say(rate=120).samples) > 1.15 * len(plain.samples)
    assert swing(say(swing=5).samples) > swing(plain.samples) + 1
    assert swing(say(evenness=0.4).samples) < swing(plain.samples) - 0.5
    bright, dull = (np.abs(np.fft.rfft(say(tilt=tilt).samples)) ** 2 for tilt in (9, -5))
    split = len(bright) * 2 // 11  # 2 kHz of 11
    assert bright[split:].sum() / bright.sum() > 2 * dull[split:].sum() / dull.sum()
    assert np.abs(say(level=-3).samples).max() <= 1


def test_every_cast_voice_exists_and_an_unknown_one_is_named() -> None:
    for voices in VOICES.values():
        for voice in (*voices["f"], *voices["m"]):
            assert len(say("Good day.", voice=voice).samples) > RATE / 4
    with pytest.raises(InputError, match=r"nobody"):
        say(voice="en-us+nobody")
    # The library is released also when it failed.
    assert len(say().samples) > RATE


def test_phonemes_follow_the_text() -> None:
    spoken = say("Bob.")
    assert [sound.viseme for sound in spoken.phonemes if sound.viseme != "silence"] == ["closed", "open", "closed"]
    assert {sound.viseme for sound in say().phonemes} <= set(VISEMES)
    assert len(say().words) == len(TEXT.split())
    assert [sound.phone for sound in spoken.phonemes if sound.phone != "SIL"] == ["B", "AA", "B"]


def test_every_sound_of_the_cast_is_a_phone_with_a_viseme() -> None:
    grammar = [
        f"{' '.join(parts)}." for parts in zip(_WHO, _DID, [*_WHERE, *_WHERE[:2]], [*_WHEN, *_WHEN[:4]], strict=True)
    ]
    names = {
        sound.phone
        for voices in VOICES["unlabelled"].values()
        for voice in voices
        for text in grammar
        for sound in say(text, voice=voice).phonemes
    }
    assert names <= set(PHONE_CLASS)
    assert len(names) > 30


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_sentences_are_statements_of_a_few_words(seed: int) -> None:
    text = sentence(np.random.default_rng(seed))
    assert text == sentence(np.random.default_rng(seed))
    assert text[0].isupper()
    assert text.endswith(".")
    assert 5 <= len(text.split()) <= 11


def tracks(emotion: str, *, activation: bool, seed: int = 5, phonemes: tuple[Phoneme, ...] | None = None) -> np.ndarray:
    sounds = phonemes or tuple(
        Phoneme(name, shape, start, start + 0.3)
        for name, shape, start in (
            ("A:", "open", 0.4),
            ("m", "closed", 0.7),
            ("A:", "open", 1.0),
            ("u:", "rounded", 1.3),
        )
    )
    spoken = Utterance(np.zeros(2 * RATE, np.float32), sounds, (0.4, 1.0))
    rng = np.random.default_rng(seed)
    return face_tracks(
        spoken, emotion, frames=50, fps=25, activation=activation, speaker=draw_speaker("x", "y", rng), rng=rng
    )


def test_mouth_follows_the_phonemes() -> None:
    track = dict(zip(CHANNELS, tracks("neutral", activation=True).T, strict=True))
    at = {"open": round(0.5 * 25), "closed": round(0.8 * 25), "rounded": round(1.4 * 25)}
    assert track["AU25"][at["closed"]] < 0.05 < 0.4 < track["AU25"][at["open"]]
    assert track["AU24"][at["closed"]] > 0.2 > track["AU24"][at["open"]]
    assert track["AU18"][at["rounded"]] > 0.4 > track["AU18"][at["open"]]
    assert track["AU25"][0] < 0.05


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_quiet_face_shows_the_units_of_its_emotion_and_no_others(emotion: str) -> None:
    mouth = {"AU18", "AU20", "AU24", "AU25", "AU26", "AU43"}
    track = dict(zip(CHANNELS, tracks(emotion, activation=False).T, strict=True))
    for name, values in track.items():
        if name in EMOTIONS[emotion].units:
            # The jaw alone gives way, where lips must close.
            assert (np.median if name == "AU26" else np.min)(values[15:40]) > 0.1, name
        elif name not in mouth:
            assert values.max() == 0, name


def test_a_lively_face_moves_more() -> None:
    still, lively = (
        np.mean([np.abs(np.diff(tracks("anger", activation=flag, seed=s), axis=0)).sum() for s in range(8)])
        for flag in (False, True)
    )
    assert lively > 1.4 * still


def test_manners_of_emotions_overlap_but_differ() -> None:
    rng = np.random.default_rng(1)
    speaker = draw_speaker("x", "y", rng)

    def draw(emotion: str, overlap: float) -> list[Manner]:
        return [
            draw_manner(speaker, emotion, energy=True, activation=True, overlap=overlap, rng=rng) for _ in range(200)
        ]

    angry, sad, happy = (np.array([m.level for m in draw(e, 1.0)]) for e in ("anger", "sadness", "happiness"))
    assert angry.mean() > happy.mean() > sad.mean()
    assert np.quantile(happy, 0.95) > np.quantile(angry, 0.05)
    assert len({m for m in draw("anger", 0.0)}) == 1


def test_head_motion_is_slow_bounded_and_can_be_switched_off() -> None:
    rng = np.random.default_rng(2)
    still = head_track(frames=100, fps=25, amount=0, rng=rng)
    assert (still == [1, 0, 0, 0]).all()
    moved = head_track(frames=100, fps=25, amount=1, rng=rng) - [1, 0, 0, 0]
    assert (np.abs(moved).max(0) <= [0.041, 5.01, 0.031, 0.025]).all()
    assert np.abs(np.diff(moved[:, 1])).max() < 1.0  # degrees a frame
