"""A teacher that looks: a classifier of emotion by action units and facial movement, trained on the labelled share.

The films of a labelled corpus show more than its voices tell (people read the faces of CREMA-D with .57 accuracy, its
voices with .40). The classifier sees the training speakers alone; it labels their speech that has no label, and is then
forgotten: what is tested hears speech alone. It teaches no more than it knows: what it says weighs as much as it is
right on labelled utterances that it was not trained on, and nothing unless that is more than chance [ours].
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import IntArray
from trainer.data.shards import Shards
from trainer.data.tracks import FACE_GROUPS, PERCENTILES, face_statistics, track_columns
from trainer.errors import InputError

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

FEW = 60  # labelled utterances up to which each is left out in turn; of more, a tenth at a time
LEVEL = 0.05  # of the test that the classifier knows more than chance


class FaceAnswer(NamedTuple):
    """What faces say of M utterances."""

    shares: npt.NDArray[np.float32]  # (M, K) probabilities, NaN for an utterance whose face no film shows
    skill: float  # 0: no more than chance on labelled utterances that were left out; 1: always right


def shown_clips(labelled: Shards, films: Shards) -> set[tuple[str, str]]:
    """Return corpus and clip of the labelled utterances that ``films`` with tracks of the face show."""
    if not len(track_columns(films, FACE_GROUPS)):
        return set()
    return {*zip(labelled.corpora, labelled.clips, strict=True)} & {*zip(films.corpora, films.clips, strict=True)}


def answer_of_faces(
    shards: Shards,
    films: Shards,
    train: IntArray,
    labels: IntArray,
    rest: IntArray,
    *,
    size: int,
    faces: str = "own",
    seed: int = 0,
) -> FaceAnswer:
    """Train on the films of labelled utterances, and answer for those of others.

    An utterance and its film have one ``clip_id`` in one corpus; a film of several segments is described by their mean.
    Every speaker's own mean face is subtracted first, which takes no label.

    Args:
        shards: labelled; ``train``, ``rest`` are rows of it.
        films: unlabelled, with dense tracks.
        train: (N,) labelled rows.
        labels: (N,) class indices.
        rest: (M,) rows to answer for.
        size: K classes.
        faces: ``exchanged``: every utterance gets the face of another one of these rows, as a negative control.
        seed: of the exchange.

    Raises:
        InputError: the films carry no tracks of the face, or show fewer than two classes of the labelled utterances.
    """
    # here, as it takes a second that most trainings do not need
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns = track_columns(films, FACE_GROUPS)
    if not len(columns):
        raise InputError(
            f"{films.folder} has no tracks of the face (finetune.self_training.face): name aus and motion in "
            "shards.dense.groups and run the shards stage again"
        )
    wanted = np.concatenate([train, rest])
    described = _by_clip(shards, films, wanted, columns)
    if faces == "exchanged":
        seen = np.flatnonzero(np.isfinite(described[:, 0]))
        order = np.random.default_rng([seed, 4]).permutation(seen)
        described[order] = described[np.roll(order, 1)]
    own, others = described[: len(train)], described[len(train) :]
    has, shown = np.isfinite(own[:, 0]), np.isfinite(others[:, 0])
    if len(set(labels[has])) < 2:
        raise InputError(
            f"{films.folder} shows the faces of {int(has.sum())} of {len(train)} labelled utterances, of fewer than "
            "two classes (finetune.self_training.face): add the films of the labelled set to the unlabelled one, "
            "under the same corpus and clip_id"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000))
    skill = skill_of(model, own[has], labels[has])
    model.fit(own[has], labels[has])
    answer = np.full((len(rest), size), np.nan, dtype=np.float32)
    if shown.any():
        answer[shown] = 0.0
        answer[np.ix_(shown, model.classes_)] = model.predict_proba(others[shown])
    return FaceAnswer(answer, skill)


def skill_of(model: BaseEstimator, x: npt.NDArray[np.float64], labels: IntArray) -> float:
    """Return how much more than chance a classifier knows of utterances it was not trained on, 0 to 1.

    (UAR - 1/K) / (1 - 1/K) over left-out utterances of K classes; 0 unless more of them are right than chance gives (a
    binomial test at `LEVEL`).
    """
    from scipy.stats import binomtest
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import KFold, LeaveOneOut, cross_val_predict

    if np.sort(np.bincount(labels))[-2] < 2:  # of one class alone nothing is learnt
        return 0.0
    parts = LeaveOneOut() if len(labels) <= FEW else KFold(10, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class of one utterance is unknown where that one is left out
        predicted = cross_val_predict(model, x, labels, cv=parts)
        uar = balanced_accuracy_score(labels, predicted)
    chance = 1 / len(set(labels))
    right = int((predicted == labels).sum())
    if (
        binomtest(right, len(labels), float(np.bincount(labels).max() / len(labels)), alternative="greater").pvalue
        >= LEVEL
    ):
        return 0.0
    return max(0.0, (float(uar) - chance) / (1 - chance))


def _by_clip(shards: Shards, films: Shards, rows: IntArray, columns: IntArray) -> npt.NDArray[np.float64]:
    """Statistics of the faces of labelled ``rows``, less the speaker's mean over these rows; NaN without a film."""
    clips = dict.fromkeys(zip(shards.corpora[rows], shards.clips[rows], strict=True))
    parts: dict[tuple[str, str], list[int]] = {}
    for row, place in enumerate(zip(films.corpora, films.clips, strict=True)):
        if place in clips:
            parts.setdefault(place, []).append(row)
    shown = np.array([row for members in parts.values() for row in members], dtype=np.int64)
    table = dict(zip(shown.tolist(), face_statistics(films, shown, columns), strict=True))
    nothing = np.full((2 + len(PERCENTILES)) * len(columns), np.nan)
    means = {place: _mean([table[row] for row in members], nothing) for place, members in parts.items()}
    places = zip(shards.corpora[rows], shards.clips[rows], strict=True)
    described = np.array([means.get(place, nothing) for place in places]).reshape(len(rows), -1)
    speakers = shards.speakers[rows]
    for speaker in set(speakers):
        theirs = speakers == speaker
        described[theirs] -= _mean(list(described[theirs]), nothing)
    return described


def _mean(values: list[npt.NDArray[np.float64]], nothing: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of those rows that have values."""
    there = [value for value in values if np.isfinite(value[0])]
    return np.mean(there, axis=0) if there else nothing
