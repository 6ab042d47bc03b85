"""From raters' votes to a label: the three rules in use (SCIENCE: Chou, Lee & Busso, Interspeech 2022)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pipeline.manifest.row import EMOTIONS

Rule = Literal["majority", "plurality", "all_inclusive"]

#: How corpora spell emotions, lower case; what is missing here counts as ``other``.
SPELLINGS = {
    **{name: name for name in EMOTIONS},
    "ang": "anger", "angry": "anger", "dis": "disgust", "disgusted": "disgust", "fea": "fear", "fearful": "fear",
    "hap": "happiness", "happy": "happiness", "joy": "happiness", "sad": "sadness", "sur": "surprise",
    "surprised": "surprise", "usurprise": "surprise", "ps": "surprise", "neu": "neutral", "neutral state": "neutral",
}  # fmt: skip


def label_from_votes(votes: Mapping[str, float], rule: Rule, *, seed: str = "0") -> str:
    """Return the emotion that ``rule`` gives a clip, or ``""`` if it gives none.

    ``votes`` maps emotion names (and ``other``) to counts. ``majority``: more than half of all votes. ``plurality``:
    more votes than any other. ``all_inclusive``: as plurality, and a tie is broken by a draw that depends on
    ``seed`` alone (put the clip's id in it), so that no clip is lost. ``other`` can win and then there is no label.

    >>> label_from_votes({"anger": 5, "fear": 4, "neutral": 1}, "majority")
    ''
    >>> label_from_votes({"anger": 5, "fear": 4, "neutral": 1}, "plurality")
    'anger'
    >>> label_from_votes({"anger": 4, "fear": 4}, "all_inclusive", seed="0:clip")
    'anger'
    """
    total = sum(votes.values())
    if not total:
        return ""
    most = max(votes.values())
    top = sorted(name for name, count in votes.items() if count == most)
    if rule == "majority":
        top = top if 2 * most > total else []
    elif rule == "all_inclusive" and len(top) > 1:
        top = [top[int(hashlib.sha256(seed.encode()).hexdigest(), 16) % len(top)]]
    return top[0] if len(top) == 1 and top[0] in EMOTIONS else ""


def vote_columns(votes: Mapping[str, float]) -> dict[str, Any]:
    """Return the manifest columns of the votes."""
    return {f"votes_{name}": float(count) for name, count in votes.items()}


def count_votes(answers: Iterable[str], offered: Iterable[str]) -> dict[str, float]:
    """Return counts from the raters' words; what was offered and not chosen counts 0, the rest is ``other``.

    >>> count_votes(["Happy", "Other-Relief"], ["happiness", "anger"])
    {'happiness': 1.0, 'anger': 0.0, 'other': 1.0}
    """
    counts = {**dict.fromkeys(offered, 0.0), "other": 0.0}
    for answer in answers:
        name = SPELLINGS.get(answer.strip().lower(), "other")
        counts[name if name in counts else "other"] += 1.0
    return counts
