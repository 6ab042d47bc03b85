"""Who trains, who is held out: folds, speakers for early stopping, and the refusal of every leak."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from trainer.data.arrays import IntArray
from trainer.data.rows import Texts, clip_ids, speaker_keys, text
from trainer.errors import InputError

DEFAULT_FOLDS = 5
NOBODY = np.zeros(0, dtype=np.int64)  # no rows


@dataclass(frozen=True)
class Fold:
    """One split; ``train`` still holds the speakers that early stopping will take away. Row indices."""

    name: str
    train: IntArray
    test: IntArray
    dev: IntArray | None = None
    protocol: str = ""  # what kind of split it is one of; every result names it


def assert_disjoint(sides: dict[str, Iterable[str]]) -> None:
    """Raise InputError naming speakers that are on two sides (side name to speaker keys).

    >>> assert_disjoint({"train": ["c/a"], "test": ["c/b"]})
    """
    names = {side: set(speakers) for side, speakers in sides.items()}
    for one, other in combinations(names, 2):
        shared = sorted(names[one] & names[other])
        if shared:
            raise InputError(f"speaker leak: {_few(shared)} in both {one} and {other}; give each speaker one side")


def folds(rows: pd.DataFrame, *, how: int | str, dev: str = "speakers") -> list[Fold]:
    """Speaker-disjoint folds of one corpus; indices are positions in ``rows``.

    Args:
        rows: scalar columns of the corpus.
        how: ``fold``: the fold column (one fold tests, the rest trains); ``split``: the split column (train, optional
            dev, test); ``auto``: the first of these that is filled, else five folds by speaker; a number: that many
            folds by speaker; ``loso``: one speaker a fold.
        dev: ``fold``: the fold before the test fold, in cyclic order, does the early stopping, as EMO-SUPERB does with
            CREMA-D's sessions; ``speakers``: rows that the split column calls dev, if any.

    Raises:
        InputError: a speaker is on two sides, a column is filled in part, or there are too few speakers or folds.
    """
    keys = speaker_keys(rows)
    given, split = text(rows, "fold"), text(rows, "split")
    if how == "auto":
        how = "fold" if (given != "").any() else "split" if (split != "").any() else "auto"
    if how == "fold":
        result = _given_folds(rows, given)
    elif how == "split":
        result = [_given_split(split)]
    else:
        result = _folds_by_speaker(rows, keys, how)
    for fold in result:
        if not len(fold.train):
            raise InputError(f"{fold.name}: no training rows; a corpus needs at least two folds")
    if dev == "fold":
        result = _stop_on_the_fold_before(result)
    for fold in result:
        held = NOBODY if fold.dev is None else fold.dev
        assert_disjoint({"train": keys[fold.train], "dev": keys[held], "test": keys[fold.test]})
    return result


def _given_folds(rows: pd.DataFrame, given: Texts) -> list[Fold]:
    """Each name in the fold column tests once, shorter names first, so that fold 2 is before fold 10."""
    empty = given == ""
    if empty.all():
        raise InputError("finetune.folds is 'fold', but the fold column is empty: fill it, or choose other folds")
    if empty.any():
        segment = text(rows, "segment_id")[empty][0]
        raise InputError(f"segment {segment!r} has no fold while others have: fill the column or empty it")
    return [
        Fold(f"fold {name}", np.flatnonzero(given != name), np.flatnonzero(given == name), protocol="given folds")
        for name in sorted(set(given), key=lambda name: (len(name), name))
    ]


def _given_split(split: Texts) -> Fold:
    train, dev, test = (np.flatnonzero(split == side) for side in ("train", "dev", "test"))
    if not (len(train) and len(test)):
        raise InputError("the split column needs train and test rows, or must be empty for folds by speaker")
    return Fold("split", train, test, dev if len(dev) else None, protocol="given split")


def _folds_by_speaker(rows: pd.DataFrame, keys: Texts, how: int | str) -> list[Fold]:
    n_speakers = len(set(keys))
    count = n_speakers if how == "loso" else min(DEFAULT_FOLDS, n_speakers) if how == "auto" else int(how)
    if count > n_speakers or count < 2:
        raise InputError(f"{n_speakers} speaker(s) cannot make {count} folds by speaker")
    from sklearn.model_selection import GroupKFold  # .9 s, which given folds do not need

    pairs = list(GroupKFold(count).split(keys, groups=keys))
    if how != "loso":
        protocol = f"{count} folds by speaker"
        return [Fold(f"fold {n}", train, test, protocol=protocol) for n, (train, test) in enumerate(pairs, start=1)]
    speakers = text(rows, "speaker")
    named = [
        Fold(f"speaker {speakers[test[0]]}", train, test, protocol="leave one speaker out") for train, test in pairs
    ]
    return sorted(named, key=lambda fold: fold.name)


def _stop_on_the_fold_before(result: list[Fold]) -> list[Fold]:
    """Move the rows of the fold before the test fold from training to early stopping."""
    if len(result) < 3:
        raise InputError(f"finetune.dev is 'fold': that needs at least three folds, not {len(result)}")
    return [
        replace(
            fold,
            train=np.setdiff1d(fold.train, before.test),
            dev=before.test,
            protocol=f"{fold.protocol}, dev: the fold before",
        )
        for fold, before in zip(result, [result[-1], *result[:-1]], strict=True)
    ]


def hold_out_speakers(
    corpora: Texts, keys: Texts, *, share: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Take whole speakers out of training rows for early stopping, about ``share`` of the rows of every corpus.

    Speakers are drawn at random and taken while they fit; if none fits (few large speakers), the smallest is taken.
    ``corpora`` and speaker ``keys``: (N,) of every row. Raises InputError if there is only one speaker.

    Returns:
        Positions of the rows that train, and of those that stop early.
    """
    counts = pd.Series(keys).value_counts()
    groups: dict[str, list[str]] = {}
    for key, corpus in sorted(dict(zip(keys, corpora, strict=True)).items()):
        groups.setdefault(corpus, []).append(key)
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
    inside = np.isin(keys, list(dev))
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
    speakers, clips = speaker_keys(rows, unknown_is_own=True), clip_ids(rows)
    if by == "speakers":
        return _whole_groups(np.arange(len(rows)), speakers, fraction=fraction, rng=rng)
    kept = []
    for speaker in sorted(set(speakers)):
        members = np.flatnonzero(speakers == speaker)
        kept.append(_whole_groups(members, clips[members], fraction=fraction, rng=rng))
    return np.sort(np.concatenate(kept))


def _whole_groups(positions: IntArray, groups: Texts, *, fraction: float, rng: np.random.Generator) -> IntArray:
    """Return the ``positions`` of the first groups of a random order whose size comes closest to ``fraction``."""
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    taken = int(np.argmin(np.abs(np.cumsum(sizes[order]) - fraction * len(groups)))) + 1
    return positions[np.isin(group, order[:taken])]


def _few(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
