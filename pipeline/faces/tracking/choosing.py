"""Which of several faces counts: in each shot the one that talks, else the largest and most central.

Only faces that are seen at the same time are rivals; one that comes when another has gone is simply the next. How often
the sound decides, and is right, is in docs/faces.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.align import align
from pipeline.faces.tracking.scene import Face, Scene
from pipeline.faces.tracking.talking import Sound, talk_score

ONLY, TALKS, PROMINENT = "only face", "talks", "largest and most central"
_MIN_SCORE = 0.05  # talk score below which no face is taken for a talking one
_MIN_LEAD = 0.03  # of the first over the second, below which the sound does not decide
_MIN_SEEN = 0.5  # s; what is seen for less beside a face that stays is no rival (and often no face)
_MIN_SHARE = 0.25  # of the frames of the rival seen longest; a few of many faces fit any sound for a moment


@dataclass(frozen=True, eq=False)
class Choice:
    """The faces that count.

    Attributes:
        faces: at most one in any frame.
        n_faces: most faces at one time.
        rule: ``ONLY`` if there was no choice to make, else what decided it in most of the frames with a choice.
        score: mean talk score of the chosen faces over those frames; NaN if there was none.
    """

    faces: list[Face]
    n_faces: int
    rule: str
    score: float


def choose(scene: Scene, sound: Sound | None) -> Choice:
    """Choose in each shot; the sound is only decoded if there is a choice to make."""
    chosen: list[Face] = []
    decided: Counter[str] = Counter()
    scores: list[tuple[float, int]] = []
    for shot in dict.fromkeys(face.shot for face in scene.faces):
        left = [face for face in scene.faces if face.shot == shot]
        while left:
            group = _rivals(left, scene)
            best, rule, score = _best(group, scene, sound)
            chosen.append(best)
            if rule != ONLY:
                decided[rule] += len(best.frames)
                scores.append((score, len(best.frames)))
            left = [face for face in left if face is not best and not _overlap(face, best)]
    rule = decided.most_common(1)[0][0] if decided else ONLY
    known = np.array([pair for pair in scores if np.isfinite(pair[0])]).reshape(-1, 2)
    mean = float(np.average(known[:, 0], weights=known[:, 1])) if len(known) else float("nan")
    return Choice(sorted(chosen, key=lambda face: face.frames[0]), _most(scene), rule, mean)


def _overlap(one: Face, other: Face) -> bool:
    return not set(one.frames).isdisjoint(other.frames)


def _seconds(face: Face, scene: Scene) -> float:
    return float(scene.time[face.frames[-1]] - scene.time[face.frames[0]])


def _rivals(faces: list[Face], scene: Scene) -> list[Face]:
    """Return the faces among which to choose next: the one seen longest and whatever overlaps it, and so on."""
    group = [max(faces, key=lambda face: (len(face.frames), -face.number))]
    for member in group:
        group += [face for face in faces if face not in group and _overlap(face, member)]
    least = _MIN_SHARE * len(group[0].frames)
    return [group[0], *(face for face in group[1:] if len(face.frames) >= least and _seconds(face, scene) >= _MIN_SEEN)]


def _best(group: list[Face], scene: Scene, sound: Sound | None) -> tuple[Face, str, float]:
    if len(group) == 1:
        return group[0], ONLY, float("nan")
    # A score from few frames is large by chance more often than one from many.
    longest = max(len(face.frames) for face in group)
    scores = np.array([_score(face, scene, sound) * np.sqrt(len(face.frames) / longest) for face in group])
    if np.isfinite(scores).any():
        second, first = np.sort(np.nan_to_num(scores, nan=0.0))[-2:]
        if first >= _MIN_SCORE and first - second >= _MIN_LEAD:
            return group[int(np.nanargmax(scores))], TALKS, float(first)
    index = int(np.argmax([prominence(face, scene) for face in group]))
    return group[index], PROMINENT, float(scores[index])


def _score(face: Face, scene: Scene, sound: Sound | None) -> float:
    if sound is None:
        return float("nan")
    return talk_score(align(np.stack(face.points)).landmarks, scene.time[face.frames], sound)


def prominence(face: Face, scene: Scene) -> float:
    """Return the face's typical size in shares of the picture's height, less the farther from its middle it is.

    A face in a corner counts half of one in the middle. Summed over the frames in which it is seen.
    """
    flat = np.stack(face.points)[:, :, :2]
    low, high = flat.min(axis=1), flat.max(axis=1)
    size = np.array(scene.size, np.float64)
    away = np.linalg.norm((low + high) / 2 - size / 2, axis=1) / np.linalg.norm(size / 2)
    return float(((high - low).max(axis=1) / size[1] * (1 - 0.5 * np.clip(away, 0, 1))).sum())


def _most(scene: Scene) -> int:
    count: NDArray[np.intp] = np.zeros(len(scene.time), np.intp)
    for face in scene.faces:
        if _seconds(face, scene) >= _MIN_SEEN or len(scene.faces) == 1:
            count[face.frames] += 1
    return int(count.max(initial=min(1, len(scene.faces))))
