"""Speech from espeak-ng, with the times of its phonemes and an emotional manner of speaking.

The library and its data come in the wheel ``espeakng-loader``. The manner (pitch, range, rate, loudness, brightness,
evenness) is planted by us; it follows the directions that the literature agrees on (Juslin & Laukka 2003,
Psychological Bulletin 129: anger and happiness faster, louder, brighter and more varied, sadness the
opposite), with sizes of ours. It is no model of how people speak.
"""

from __future__ import annotations

import ctypes
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import InputError

RATE = 22050  # Hz, what espeak-ng's voices produce
_MARGIN = 0.25  # s of background before and after an utterance

# espeak-ng/speak_lib.h
_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 0x0001, 0x8000
_CHARS_UTF8 = 1
_PARAMETER = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
_EVENT_END_OF_LIST, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_LONGEST_DATA_PATH = 140  # espeak-ng keeps its data path in a buffer of 160 bytes

#: Speakers of the unlabelled and of the labelled set: disjoint variants in several accents.
VOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "unlabelled": {
        "f": ("en-us+f1", "gmw/en+Alicia", "en-gb-x-rp+f3", "en-us+belinda", "en-us-nyc+steph", "gmw/en+Annie",
              "en-gb-scotland+f5", "en-029+aunty", "en-us+shelby"),
        "m": ("en-us+m1", "gmw/en+m3", "en-gb-scotland+Alex"),
    },
    "labelled": {
        "f": ("en-us+f2", "gmw/en+f4", "en-us+linda", "en-gb-x-rp+Andrea", "en-us-nyc+anika"),
        "m": ("en-us+m2", "gmw/en+m7", "en-gb-x-rp+Michael", "en-us+Reed", "en-gb-scotland+Andy"),
    },
}  # fmt: skip

# Phoneme to mouth shape. espeak-ng's mnemonics for English, stress marks stripped; longest match first.
_VISEMES = {
    "closed": ("p", "b", "m"),
    "labiodental": ("f", "v"),
    "dental": ("T", "D"),
    "alveolar": ("t", "d", "n", "s", "z", "l", "*", ";"),
    "postalveolar": ("S", "Z", "tS", "dZ", "r", "j"),
    "velar": ("k", "g", "N", "h", "x", "C", "?"),
    "rounded": ("w", "u", "U", "o", "O"),
    "open": ("a", "A", "V", "0"),
    "mid": ("e", "E", "3", "@"),
    "spread": ("i", "I"),
    "silence": ("_", "|"),
}
VISEMES = tuple(_VISEMES)

# Phoneme to ARPABET, the same way. What has no counterpart takes the nearest: a flap T, a glottal stop T.
_PHONES = {
    "P": "p", "B": "b", "M": "m", "F": "f", "V": "v", "TH": "T", "DH": "D", "T": "t * ?", "D": "d", "N": "n", "S": "s",
    "Z": "z", "L": "l @L", "SH": "S", "ZH": "Z", "CH": "tS", "JH": "dZ", "R": "r", "Y": "j ;", "K": "k x", "G": "g",
    "NG": "N", "HH": "h C", "W": "w", "ER": "3 IR", "AH": "@ V a#", "AA": "A 0 aa", "AE": "a", "AY": "aI", "AW": "aU",
    "EH": "E e", "EY": "eI", "IH": "I", "IY": "i", "AO": "O o", "OY": "OI", "OW": "oU", "UW": "u", "UH": "U",
    "SIL": "_ |",
}  # fmt: skip
_ARPABET = {mnemonic: phone for phone, mnemonics in _PHONES.items() for mnemonic in mnemonics.split()}
_BY_MNEMONIC = {mnemonic: shape for shape, mnemonics in _VISEMES.items() for mnemonic in mnemonics}


@dataclass(frozen=True)
class Manner:
    """How an utterance is spoken."""

    pitch: float  # espeak-ng's scale 0..99; 50 is the voice's own
    range: float  # of the pitch, on the same scale
    rate: float  # words a minute
    level: float  # dB full scale over the speech
    tilt: float  # dB of lift above 1 kHz
    swing: float  # dB by which words differ in loudness
    evenness: float  # share of the loudness contour that is flattened; 0 leaves it


@dataclass(frozen=True)
class Phoneme:
    """One sound: espeak-ng's mnemonic, its mouth shape, start and end in seconds."""

    name: str
    viseme: str
    start: float
    end: float

    @property
    def phone(self) -> str:
        """The sound in ARPABET, SIL for a pause; as it is for a mnemonic that English lacks.

        >>> [Phoneme(name, "", 0, 0).phone for name in ("'oU", "tS", "@2", "_:")]
        ['OW', 'CH', 'AH', 'SIL']
        """
        return _look_up(_ARPABET, self.name, otherwise=self.name)


@dataclass(frozen=True)
class Utterance:
    """Speech: ``samples`` float32 mono at ``RATE``, phonemes and word starts in seconds."""

    samples: np.ndarray
    phonemes: tuple[Phoneme, ...]
    words: tuple[float, ...]


def viseme(mnemonic: str) -> str:
    """Mouth shape of an espeak-ng phoneme.

    >>> viseme("'oU"), viseme("tS"), viseme("m"), viseme("_:")
    ('rounded', 'postalveolar', 'closed', 'silence')
    """
    return _look_up(_BY_MNEMONIC, mnemonic, otherwise="mid")


def _look_up(table: dict[str, str], mnemonic: str, *, otherwise: str) -> str:
    bare = mnemonic.lstrip("',%=") or "_"  # without stress marks; nothing but marks is a pause
    return table.get(bare[:2]) or table.get(bare[:1], otherwise)


class _Identity(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak(text: str, *, voice: str, manner: Manner, rng: np.random.Generator, noise: float) -> Utterance:
    """Speak ``text``; equal arguments give equal samples, whatever was spoken before.

    Args:
        text: English.
        voice: name of an espeak-ng voice, ``language+variant``.
        manner: how it is spoken.
        rng: draws what the manner leaves open, and the background.
        noise: background level, dB full scale.

    Raises:
        InputError: the library does not load or does not know the voice.
    """
    raw, events = _synthesise(text, voice, manner)
    shift = round(_MARGIN * RATE)
    words = [sample for kind, sample, _ in events if kind == _EVENT_WORD]
    sounds = [(sample, name) for kind, sample, name in events if kind == _EVENT_PHONEME]
    ends = [sample for sample, _ in sounds[1:]] + [len(raw)]
    phonemes = tuple(
        Phoneme(name, viseme(name), (start + shift) / RATE, (min(end, len(raw)) + shift) / RATE)
        for (start, name), end in zip(sounds, ends, strict=True)
        if end > start
    )
    shaped = _shape(raw.astype(float) / 2**15, words, manner, rng)
    samples = np.pad(shaped, shift)
    samples += 10 ** (noise / 20) * rng.standard_normal(len(samples))
    # Soft limit: no sample clips, whatever the drawn level.
    samples = np.where(
        np.abs(samples) < 0.8, samples, np.sign(samples) * (0.8 + 0.2 * np.tanh((np.abs(samples) - 0.8) / 0.2))
    )
    return Utterance(samples.astype(np.float32), phonemes, tuple((word + shift) / RATE for word in words))


def _synthesise(text: str, voice: str, manner: Manner) -> tuple[np.ndarray, list[tuple[int, int, str]]]:
    """Return int16 samples and (event type, sample, phoneme name) from a freshly loaded library.

    espeak-ng keeps oscillator phases, flutter and voice settings in static variables between calls, and no call resets
    them. So the library is unloaded after each utterance (5 ms), which makes the result independent of history.
    """
    import _ctypes

    import espeakng_loader

    chunks: list[np.ndarray] = []
    events: list[tuple[int, int, str]] = []

    @_Callback
    def collect(wave, count, event):  # type: ignore[no-untyped-def]
        if wave and count > 0:
            chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while event[i].type != _EVENT_END_OF_LIST:
            name = event[i].id.string.decode(errors="replace") if event[i].type == _EVENT_PHONEME else ""
            events.append((event[i].type, event[i].sample, name))
            i += 1
        return 0

    with tempfile.TemporaryDirectory() as folder:
        data = Path(espeakng_loader.get_data_path())
        if len(str(data)) > _LONGEST_DATA_PATH:
            link = Path(folder) / data.name
            link.symlink_to(data, target_is_directory=True)
            data = link
        try:
            library = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise InputError(f"cannot load espeak-ng ({error}): reinstall espeakng-loader") from error
        try:
            found = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _PHONEME_EVENTS | _DONT_EXIT)
            if found != RATE:
                raise InputError(f"espeak-ng did not start from {data} (code {found}): reinstall espeakng-loader")
            # Breathy variants draw noise from two generators, one of them seeded with the time at the start.
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            ctypes.CDLL(None).srand(1)
            library.espeak_SetSynthCallback(collect)
            # An unknown variant would pass in silence as the plain voice.
            known = (data / "voices" / "!v" / voice.partition("+")[2]).is_file()
            if not known or library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise InputError(f"espeak-ng has no voice {voice!r}: reinstall espeakng-loader")
            # 60 of 100: several variants overload at the default volume; the level is set later anyway.
            settings = {"rate": manner.rate, "pitch": manner.pitch, "range": manner.range, "volume": 60}
            for name, value in settings.items():
                low, high = (80, 450) if name == "rate" else (0, 99)
                library.espeak_SetParameter(_PARAMETER[name], round(min(max(value, low), high)), 0)
            encoded = text.encode()
            library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
            library.espeak_Synchronize()
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)
    if not chunks:
        raise InputError(f"espeak-ng returned no sound for {text!r} in voice {voice!r}")
    return np.concatenate(chunks), sorted(events, key=lambda event: event[1])


def _shape(samples: np.ndarray, words: list[int], manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """Plant brightness, evenness, loudness swing and level."""
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import lfilter

    pole = np.exp(-2 * np.pi * 1000 / RATE)  # one-pole low pass at 1 kHz
    lifted = samples + (10 ** (manner.tilt / 20) - 1) * (samples - lfilter([1 - pole], [1, -pole], samples))
    # Loudness contour over about a syllable (100 ms); pauses are left alone.
    window = int(0.1 * RATE)
    contour = 10 * np.log10(uniform_filter1d(lifted**2, window) + 1e-9)
    speech = contour > contour.max() - 35
    gain = -manner.evenness * (np.clip(contour, contour.max() - 35, None) - contour[speech].mean())
    # Words alternate between louder and softer: alternation makes a swing certain even in a short sentence.
    steps = np.zeros(len(samples))
    sign = rng.choice([-1.0, 1.0])
    for start, end in zip(words, [*words[1:], len(samples)], strict=True):
        steps[start:end] = sign * manner.swing * rng.uniform(0.7, 1.3)
        sign = -sign
    gain += uniform_filter1d(steps, int(0.06 * RATE))  # 60 ms ramps: no clicks
    shaped = lifted * 10 ** (gain / 20)
    loudness = np.sqrt(np.mean(shaped[speech] ** 2))
    return shaped * 10 ** (manner.level / 20) / loudness
