"""Follow every face of a shot, each as its own track; nothing crosses a camera cut.

A face is followed by its points from frame to frame (``graphs.Points``). The far-range detector looks for more in a
shot's first frame and when a face was lost, ``search_interval`` later, and then at growing intervals while there is a
face. While there is none the cheap near-range detector looks at every frame, as FaceMesh does.

With ``adaptive`` a follower leaps: it looks some frames ahead, and back at the frames between only where the face moved
(``sparing``). A leap never crosses a cut, the time of a search or a lost face: there every frame is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.config import FacesConfig
from pipeline.faces.timeline import same_face
from pipeline.faces.tracking.graphs import Box, Detector, Points
from pipeline.faces.tracking.scene import Face, Scene
from pipeline.faces.tracking.shots import CutFinder
from pipeline.faces.tracking.sparing import fill, looks_between
from pipeline.media import Frame

_PATIENCE = 0.2  # s that the points of a face are looked for where they were last seen
_LONGEST_WAIT = 8  # search intervals between searches while there is a face: 5.5 ms every 4 s is .05 ms a frame
_SAME_PLACE = 0.5  # sizes of a face between the middles of two that are one
_RETURN = 1.0  # sizes of a face from where it was lost within which one that comes back is the same
_WINDOW = 4.0  # edge of the window in which a detected or lost face is looked for again, in its sizes
_RECENT = 1.0  # s after a loss in which the near-range detector looks round the place, else at the whole picture
_BLOCK = 16  # frames for which each step is done before the next step; taken in turns they drive each other out of the
# processor's cache: 14 % slower on one core
_BOX = 1.5  # edge of a detected box, in distances between the outer eye corners, at least

_SLACK = 0.002  # s; timestamps are rounded

Reader = Callable[[Face, NDArray[np.uint8], NDArray[np.float32], float], dict[str, NDArray[np.float32]]]

_Seen = tuple[Face, Frame, NDArray[np.float32]]


class FaceFollower:
    """Finds faces and follows each until it is lost or the camera is cut. One serves a process."""

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self._points = Points(config)
        self._far, self._near = Detector(config, far=True), Detector(config, far=False)

    def __call__(self, frames: Iterable[Frame], read: Reader) -> Scene:
        """Follow all faces, at most ``max_faces`` at a time, and read each wherever it is found."""
        cut = CutFinder()
        self._faces: list[Face] = []
        self._shot = 0
        self._begin_shot()
        self._careful = -1  # last frame that a leap must not pass over
        times: list[float] = []
        shots: list[int] = []
        size = (0, 0)
        coming = iter(frames)
        waiting: list[tuple[Frame, bool]] = []  # frames still to be looked at, and whether each begins a shot
        while (block := list(islice(coming, _BLOCK))) or waiting:
            waiting += [(frame, cut(frame.image)) for frame in block]
            seen: list[_Seen] = []
            while waiting and (steps := self._steps(times, waiting, last=not block)):
                leap, waiting = waiting[:steps], waiting[steps:]
                if leap[0][1]:
                    self._shot += 1
                    self._begin_shot()
                shown = [frame for frame, _ in leap]
                looked = self._leap(len(times), shown) if steps > 1 else self._one(len(times), shown[0])
                if looked is None:  # as if nothing had been tried, frame by frame
                    self._careful = len(times) + steps - 1
                    waiting = leap + waiting
                    continue
                seen += looked
                times += [frame.time for frame in shown]
                shots += [self._shot] * steps
            for face, frame, points in seen:
                face.readings.append(read(face, frame.image, points, frame.time))
            if block:
                size = block[-1].image.shape[1], block[-1].image.shape[0]
        scene = Scene(np.array(times, np.float64), np.array(shots, np.intp), size, self._faces)
        for face in scene.faces:
            fill(face, scene.time)
        return scene

    def _steps(self, times: list[float], waiting: list[tuple[Frame, bool]], *, last: bool) -> int:
        """Return how many frames on to look next: 1 is the next frame, 0 says that too few are at hand to tell."""
        config, index = self.config, len(times)
        if (
            not config.adaptive
            or not self._live
            or index <= self._careful
            or any(not face.frames or face.frames[-1] != index - 1 for face in self._live)
        ):
            return 1
        searching = len(self._live) < config.max_faces and config.search_interval > 0
        for steps, (frame, begins) in enumerate(waiting[: config.adaptive_frames + 1]):
            if begins or frame.time > times[-1] + config.adaptive_step + _SLACK:
                return max(steps, 1)
            if steps == config.adaptive_frames or (searching and frame.time >= self._due):
                return min(steps + 1, config.adaptive_frames)
        return len(waiting) if last else 0

    def _one(self, index: int, frame: Frame) -> list[_Seen]:
        return [(face, frame, face.points[-1]) for face in self._look(index, frame)]

    def _leap(self, index: int, shown: list[Frame]) -> list[_Seen] | None:
        """Look at the last of some frames, and at those between where a face moved; None if one is lost or changes.

        Args:
            index: of the first of them; in the frame before it all faces that are followed were found.
            shown: the frames.
        """
        found: list[tuple[Face, dict[int, tuple[NDArray[np.float32], Any]]]] = []
        steps = len(shown)
        for face in self._live:
            looks: dict[int, tuple[NDArray[np.float32], Any]] = {}

            def look(step: int, face: Face = face, looks: dict[int, Any] = looks) -> NDArray[np.float32] | None:
                # Where the last look before it saw the face.
                place = looks[max(earlier)][1] if (earlier := [at for at in looks if at < step]) else face.place
                seen = self._points(shown[step - 1].image, place)
                if seen is None or not same_face(face.points[-1], seen[0]):
                    return None
                looks[step] = seen
                return seen[0]

            end = look(steps)
            if end is None or any(_near(end, other[steps][0]) for _, other in found):
                return None
            if looks_between(face.points[-1], end, steps, look, limit=self.config.adaptive_movement) is None:
                return None
            found.append((face, looks))
        seen: list[tuple[int, _Seen]] = []
        for face, looks in found:
            for step in range(1, steps + 1):
                if step in looks:
                    face.add(index + step - 1, shown[step - 1].time, looks[step])
                    seen.append((step, (face, shown[step - 1], looks[step][0])))
                else:
                    face.skipped.append(index + step - 1)
        result = [one for _, one in sorted(seen, key=lambda pair: pair[0])]
        if len(self._live) < self.config.max_faces:
            new = self._search(index + steps - 1, shown[-1], [face for face, _ in found])
            result += [(face, shown[-1], face.points[-1]) for face in new]
        return result

    def _begin_shot(self) -> None:
        self._live: list[Face] = []
        self._lost: list[Face] = []
        self._search_soon()

    def _search_soon(self) -> None:
        self._due = -np.inf  # s, when the far-range detector looks next
        self._wait = self.config.search_interval  # s, until it looks again after that

    def _look(self, index: int, frame: Frame) -> list[Face]:
        """Return the faces found in one frame."""
        found: list[Face] = []
        for face in list(self._live):
            seen = self._points(frame.image, face.place)
            if seen is None:
                if frame.time - face.seen > _PATIENCE:
                    self._lose(face)
            elif _taken(seen, found):
                self._lose(face)
            else:
                if not same_face(face.points[-1], seen[0]):  # it went over to another face
                    self._lose(face)
                    face = self._start()
                face.add(index, frame.time, seen)
                found.append(face)
        if len(self._live) < self.config.max_faces or not found:
            found += self._search(index, frame, found)
        return found

    def _lose(self, face: Face) -> None:
        self._live.remove(face)
        self._lost.append(face)
        self._search_soon()

    def _start(self) -> Face:
        face = Face(len(self._faces), self._shot)
        self._faces.append(face)
        self._live.append(face)
        return face

    def _search(self, index: int, frame: Frame, followed: list[Face]) -> list[Face]:
        """Look for faces that are not followed, if it is time to; return them, followed from now on."""
        found: list[Face] = []
        for box in self._detect(frame, alone=not followed):
            seen_now = [*followed, *found]
            if any(face.is_at(box.x, box.y, _SAME_PLACE) for face in seen_now):
                continue
            missed = [face for face in (*self._live, *self._lost) if face not in seen_now]
            back = next((face for face in missed if face.is_at(box.x, box.y, _RETURN)), None)
            if back not in self._live and len(self._live) >= self.config.max_faces:
                continue
            seen = self._points_in(box, frame.image)
            if seen is None or _taken(seen, seen_now):
                continue
            if back is None or not same_face(back.points[-1], seen[0]):
                back = self._start()
            elif back in self._lost:
                self._lost.remove(back)
                self._live.append(back)
            back.add(index, frame.time, seen)
            found.append(back)
        return found

    def _points_in(self, box: Box, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Any] | None:
        """Return the points of a detected face, and where to look for them in the next frame."""
        # What the far-range detector says of a small face is rough (its tilt above all), so the near-range one looks
        # again through a window round it.
        again = self._near_window(box.x, box.y, box.edge, image)
        box = next((near for near in again if np.hypot(near.x - box.x, near.y - box.y) < box.edge), box)
        seen = self._points(image, self._points.place(box, image))
        # Once more where the points are: a box is a rougher place than the last frame's points.
        return seen and self._points(image, seen[1])

    def _near_window(self, x: float, y: float, size: float, image: NDArray[np.uint8]) -> list[Box]:
        """Return what the near-range detector sees in a window of ``_WINDOW`` sizes round (x, y)."""
        half = _WINDOW / 2 * size
        x0, y0 = int(max(x - half, 0)), int(max(y - half, 0))
        window = np.ascontiguousarray(image[y0 : int(y + half) + 1, x0 : int(x + half) + 1])
        if min(window.shape) < 1:
            return []
        return [replace(box, x=box.x + x0, y=box.y + y0) for box in self._near(window)]

    def _detect(self, frame: Frame, *, alone: bool) -> list[Box]:
        """Return boxes of faces, the largest first.

        Args:
            frame: the picture to look at.
            alone: no face is followed in it.
        """
        boxes = []
        if self.config.search_interval > 0 and frame.time >= self._due:
            boxes = self._far(frame.image)
            self._due = frame.time + self._wait
            if not alone:
                self._wait = min(2 * self._wait, _LONGEST_WAIT * self.config.search_interval)
        if alone and not boxes:
            last = self._lost[-1] if self._lost else None
            if last is not None and frame.time - last.seen <= _RECENT:
                middle, size = last.middle()
                boxes = self._near_window(float(middle[0]), float(middle[1]), size, frame.image)
            else:
                boxes = self._near(frame.image)
        # Faces that are too small to be of use cost as much as others; one may be followed, to be named as too small.
        return [box for box in boxes if box.edge >= self.config.min_interocular * _BOX] or boxes[:1]


def _taken(seen: tuple[NDArray[np.float32], Any], found: list[Face]) -> bool:
    """Tell whether points are those of a face that was found already."""
    if not found:
        return False
    middle = (seen[0][:, :2].min(axis=0) + seen[0][:, :2].max(axis=0)) / 2
    return any(face.is_at(float(middle[0]), float(middle[1]), _SAME_PLACE) for face in found)


def _near(points: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Tell whether two sets of points are at one place."""
    return _taken((points, None), [Face(0, 0, points=[other])])
