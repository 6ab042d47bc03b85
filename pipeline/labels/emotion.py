"""T3: soft emotion scores from action units, weighted by how far each unit can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

NEUTRAL = "neutral"


def rule_matrix(
    rules: Mapping[str, Sequence[str]], au_names: Sequence[str], weights: Mapping[str, float], *, contrast: float = 0.0
) -> tuple[list[str], np.ndarray]:
    """Return emotion names and the (n_emotions, n_aus) matrix that averages an emotion's action units.

    A unit counts by its reliability weight, and one that the backend does not support (weight 0) does not pull
    the mean down. An emotion none of whose units is supported is left out.

    Rules overlap: surprise (1+2+5+26) lies wholly inside fear (1+2+4+5+7+20+26), so a plain mean of its own units
    gives a perfect fear face the same score for both. ``contrast`` (ours) subtracts that share of the mean of the
    units that speak for other emotions only.

    >>> names, matrix = rule_matrix({"happiness": ["AU06", "AU12"]}, ["AU06", "AU12"], {"AU06": 1.0, "AU12": 3.0})
    >>> matrix.tolist()
    [[0.25, 0.75]]
    """
    trust = np.array([weights.get(name, 0.0) for name in au_names])
    member = np.array([[name in units for name in au_names] for units in rules.values()]).reshape(-1, len(au_names))
    kept = [index for index, own in enumerate(member) if (trust * own).sum() > 0]
    anyone = member[kept].any(axis=0)
    rows = []
    for index in kept:
        own, other = trust * member[index], trust * (anyone & ~member[index])
        rows.append(own / own.sum() - contrast * other / max(other.sum(), 1e-12))
    return [list(rules)[index] for index in kept], np.array(rows).reshape(-1, len(au_names))


def class_reliability(rules: Mapping[str, Sequence[str]], weights: Mapping[str, float]) -> dict[str, float]:
    """Return emotion -> mean reliability of its units, 0 to 1: how far a label of that emotion can be trusted.

    >>> class_reliability({"disgust": ["AU09", "AU15"]}, {"AU06": 1.0, "AU09": 0.3})
    {'disgust': 0.15}
    """
    return {name: round(sum(weights.get(unit, 0.0) for unit in units) / len(units), 4) for name, units in rules.items()}


def soft_scores(
    aus: np.ndarray, *, baseline: np.ndarray, scale: np.ndarray, matrix: np.ndarray, summary: float
) -> np.ndarray:
    """Return one score an emotion for a segment (ours after the rule table).

    Args:
        aus: (n_frames, n_aus) intensities of the valid frames.
        baseline: (n_aus,) the speaker's typical face.
        scale: (n_aus,) standard deviation over training frames, so that units of all AUs compare.
        matrix: (n_emotions, n_aus) from `rule_matrix`.
        summary: quantile over frames that stands for the segment.
    """
    relative = np.clip((aus - baseline) / scale, 0.0, None)
    return np.quantile(relative @ matrix.T, summary, axis=0)


def decide(scores: np.ndarray, names: Sequence[str], *, floor: float) -> tuple[str, float]:
    """Return the label and its confidence, the margin to the runner-up.

    Neutral stands among the candidates with the floor as its score.

    >>> decide(np.array([0.9, 0.2]), ["anger", "fear"], floor=0.5)
    ('anger', 0.4)
    >>> decide(np.array([0.3, 0.2]), ["anger", "fear"], floor=0.5)
    ('neutral', 0.2)
    """
    candidates = np.append(scores, floor)
    order = np.argsort(-candidates, kind="stable")
    best, second = candidates[order[0]], candidates[order[1]]
    return [*names, NEUTRAL][order[0]], float(round(best - second, 12))
