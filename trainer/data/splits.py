"""Who trains, who is held out: folds, speakers for early stopping, and the refusal of every leak."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupKFold

from trainer.data.arrays import IntArray
from trainer.data.rows import speaker_keys, text
from trainer.errors import InputError

DEFAULT_FOLDS = 5
Speaker = tuple[str, str]  # corpus, speaker


@dataclass(frozen=True)
class Fold:
    """One split; ``train`` still holds the speakers that early stopping will take away. Row indices."""

    name: str
    train: IntArray
    test: IntArray
    dev: IntArray | None = None
    protocol: str = ""  # what kind of split it is one of; every result names it


def assert_disjoint(sides: dict[str, Iterable[str]]) -> None:
    """Raise InputError naming the speakers that stand on two sides (side name to speaker keys).

    >>> assert_disjoint({"train": ["c/a"], "test": ["c/b"]})
    """
    names = {side: set(speakers) for side, speakers in sides.items()}
    ordered = list(names)
    for position, one in enumerate(ordered):
        for other in ordered[position + 1 :]:
            shared = sorted(names[one] & names[other])
            if shared:
                raise InputError(f"speaker leak: {_some(shared)} in both {one} and {other}; give each speaker one side")


def folds(rows: pd.DataFrame, *, how: int | str, dev: str = "speakers") -> list[Fold]:
    """Speaker-disjoint folds of one corpus; indices are positions in ``rows``.

    ``fold``: the fold column (one fold tests, the rest trains); ``split``: the split column (train, optional dev,
    test); ``auto``: the first of these that is filled, else five folds by speaker. A number: that many folds by
    speaker; ``loso``: one speaker a fold. ``dev`` fold: the fold before the test fold, in cyclic order, does the early
    stopping, as EMO-SUPERB does with CREMA-D's sessions. Raises InputError for a leak, a half-filled fold column, too
    few speakers or folds.
    """
    keys = speaker_keys(rows)
    given, split = text(rows, "fold"), text(rows, "split")
    everything = np.arange(len(rows))
    if how == "auto":
        how = "fold" if (given != "").any() else "split" if (split != "").any() else "auto"
    if how == "fold":
        if (given == "").all():
            raise InputError("finetune.folds is 'fold', but the fold column is empty: fill it, or choose other folds")
        if (given == "").any():
            raise InputError(
                f"segment {text(rows, 'segment_id')[given == ''][0]!r} has no fold while others have: "
                "fill the column or empty it"
            )
        names = sorted(set(given), key=lambda name: (len(name), name))
        result = [
            Fold(f"fold {name}", everything[given != name], everything[given == name], protocol="given folds")
            for name in names
        ]
    elif how == "split":
        if not ((split == "train").any() and (split == "test").any()):
            raise InputError("the split column needs train and test rows, or must be empty for folds by speaker")
        held = everything[split == "dev"]
        sides = (everything[split == "train"], everything[split == "test"], held if len(held) else None)
        result = [Fold("split", *sides, protocol="given split")]
    else:
        n_speakers = len(set(keys))
        count = n_speakers if how == "loso" else DEFAULT_FOLDS if how == "auto" else int(how)
        if n_speakers < count and how == "auto":
            count = n_speakers
        if count > n_speakers or count < 2:
            raise InputError(f"{n_speakers} speaker(s) cannot make {count} folds by speaker")
        protocol = "leave one speaker out" if how == "loso" else f"{count} folds by speaker"
        result = [
            Fold(f"fold {number}", train, test, protocol=protocol)
            for number, (train, test) in enumerate(GroupKFold(count).split(keys, groups=keys), start=1)
        ]
        if how == "loso":
            named = [replace(fold, name=f"speaker {text(rows, 'speaker')[fold.test[0]]}") for fold in result]
            result = sorted(named, key=lambda fold: fold.name)
    for fold in result:
        if not len(fold.train):
            raise InputError(f"{fold.name}: no training rows; a corpus needs at least two folds")
    if dev == "fold":
        result = _stop_on_the_fold_before(result)
    for fold in result:
        held = np.array([], dtype=np.int64) if fold.dev is None else fold.dev
        assert_disjoint({"train": keys[fold.train], "dev": keys[held], "test": keys[fold.test]})
    return result


def _stop_on_the_fold_before(result: list[Fold]) -> list[Fold]:
    """Move the rows of the fold before the test fold from training to early stopping."""
    if len(result) < 3:
        raise InputError(f"finetune.dev is 'fold': that needs at least three folds, not {len(result)}")
    moved = []
    for number, fold in enumerate(result):
        held = result[number - 1].test
        kept = np.setdiff1d(fold.train, held)
        moved.append(replace(fold, train=kept, dev=held, protocol=f"{fold.protocol}, dev: the fold before"))
    return moved


def hold_out_speakers(
    rows: pd.DataFrame, keys: npt.NDArray[np.object_], *, share: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Whole speakers for early stopping: about ``share`` of the rows of every corpus. Returns (train, dev) positions.

    Speakers are drawn at random and taken while they fit; if none fits (few large speakers), the smallest is taken.
    Raises InputError if there is only one speaker.
    """
    corpora = text(rows, "corpus")
    counts = pd.Series(keys).value_counts()
    corpus_of = dict(zip(keys, corpora, strict=True))
    groups: dict[str, list[str]] = {}
    for key in sorted(counts.index):
        groups.setdefault(corpus_of[key], []).append(key)
    pools = [members for members in groups.values() if len(members) > 1] or [sorted(counts.index)]
    dev: set[str] = set()
    for members in pools:
        if len(members) < 2:
            raise InputError(
                f"only one speaker ({members[0]}): early stopping needs a held-out speaker; add speakers or name them"
            )
        room = share * sum(counts[key] for key in members)
        chosen: list[str] = []
        for key in rng.permutation(np.array(members, dtype=object)):
            if counts[key] <= room:
                chosen.append(key)
                room -= counts[key]
        dev.update(chosen or [min(members, key=lambda key: (counts[key], key))])
    inside = np.array([key in dev for key in keys])
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def label_subset(labels: IntArray, *, fraction: float, rng: np.random.Generator) -> IntArray:
    """Positions of a stratified ``fraction`` of the rows: at least one of every class, drawn by ``rng``, in order.

    >>> len(label_subset(np.array([0] * 8 + [1] * 4), fraction=0.5, rng=np.random.default_rng(0)))
    6

    Of no rows none: who stops early on nobody has none to thin.

    >>> len(label_subset(np.zeros(0, np.int64), fraction=0.5, rng=np.random.default_rng(0)))
    0
    """
    if fraction >= 1:
        return np.arange(len(labels))
    chosen = [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(rng.permutation(members)[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(chosen))


def unlabelled_subset(rows: pd.DataFrame, *, fraction: float, by: str, rng: np.random.Generator) -> IntArray:
    """Positions of about ``fraction`` of unlabelled ``rows``: whole speakers, or of every speaker whole clips (``by``).

    Groups are taken in an order that ``rng`` alone decides, up to the number of rows that comes closest, at least one
    group. A smaller fraction from an equal ``rng`` is therefore a part of a larger one. With clips the voices stay the
    same and only the amount changes; with speakers both do.
    """
    speakers = speaker_keys(rows, unknown_is_own=True)
    if by == "speakers":
        return _whole_groups(np.arange(len(rows)), speakers, fraction=fraction, rng=rng)
    clips = text(rows, "clip_id") if "clip_id" in rows else text(rows, "segment_id")
    kept = []
    for speaker in sorted(set(speakers)):
        members = np.flatnonzero(speakers == speaker)
        kept.append(_whole_groups(members, clips[members], fraction=fraction, rng=rng))
    return np.sort(np.concatenate(kept))


def _whole_groups(
    positions: IntArray, groups: npt.NDArray[np.object_], *, fraction: float, rng: np.random.Generator
) -> IntArray:
    """Return the ``positions`` of the first groups of a random order whose size comes closest to ``fraction``."""
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    taken = int(np.argmin(np.abs(np.cumsum(sizes[order]) - fraction * len(groups)))) + 1
    return positions[np.isin(group, order[:taken])]


def _some(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
