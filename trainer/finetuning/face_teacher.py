"""A teacher that looks: a classifier of emotion by action units and facial movement, trained on the labelled share.

The films of a labelled corpus show more than its voices tell (people read the faces of CREMA-D with .57 accuracy, its
voices with .40). The classifier sees the training speakers alone; it labels their speech that has no label, and is then
forgotten: what is tested hears speech alone [ours].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.data.arrays import IntArray
from trainer.data.shards import Shards
from trainer.errors import InputError

GROUPS = ("motion", "aus")  # of the dense tracks: what the face shows; the energy is the voice's
PERCENTILES = (10, 50, 90)
LEAST_FRAMES = 5  # with a face, below which there is nothing to read


def face_statistics(films: Shards, rows: IntArray, columns: IntArray) -> npt.NDArray[np.float64]:
    """Return mean, deviation and percentiles of the tracks in ``columns``, (M, 5 * K); NaN in rows without a face."""
    found = np.full((len(rows), (2 + len(PERCENTILES)) * len(columns)), np.nan)
    for number, row in enumerate(rows):
        tracks = np.asarray(films.dense[films.offsets[row] : films.offsets[row + 1]])[:, columns].astype(np.float64)
        seen = tracks[np.isfinite(tracks).all(axis=1)]
        if len(seen) >= LEAST_FRAMES:
            parts = [seen.mean(axis=0), seen.std(axis=0), *np.percentile(seen, PERCENTILES, axis=0)]
            found[number] = np.concatenate(parts)
    return found


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
) -> npt.NDArray[np.float32]:
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

    Returns:
        (M, K) probabilities, NaN for an utterance whose face no film shows.

    Raises:
        InputError: the films carry no tracks of the face, or show fewer than two classes of the labelled utterances.
    """
    names = [name for group in GROUPS for name in films.metadata.get("dense", {}).get("groups", {}).get(group, ())]
    if not names:
        raise InputError(
            f"{films.folder} has no tracks of the face (finetune.self_training.face): name aus and motion in "
            "shards.dense.groups and run the shards stage again"
        )
    columns = np.array([films.frame_names["dense"].index(name) for name in names])
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
    model.fit(own[has], labels[has])
    answer = np.full((len(rest), size), np.nan, dtype=np.float32)
    if shown.any():
        answer[shown] = 0.0
        answer[np.ix_(shown, model.classes_)] = model.predict_proba(others[shown])
    return answer


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
