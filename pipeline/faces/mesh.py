"""The default backend: MediaPipe FaceMesh in tracking mode. Its models lie inside the wheel; nothing is downloaded.

Measured with mediapipe 0.10.21, CPU time on one core at 640x360: 3.6 ms a frame tracking; 40 ms for a new graph's
first frame, 30 ms after ``reset`` with identical results and a sixth of the memory growth, so one graph serves a
process and is reset for every segment. Reading the 478 points as the packed floats they are on the wire takes .03 ms
against .25 ms attribute by attribute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from time import sleep
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.backends import BACKENDS, Track, no_points, no_texture, stack
from pipeline.faces.config import FacesConfig
from pipeline.faces.meshmodel import N_POINTS
from pipeline.faces.texture import face_picture, read_texture
from pipeline.media import Frame

# Protocol-buffer layout of one NormalizedLandmark in its list: tag, length 15, then three tagged float32.
_RECORD = 17
_START = 0.1  # s; without a face in the first picture the landmark models still load, and log, when it is done
_ZOOM = 4.0  # edge of the window that FaceMesh gets to see round a small face, in sizes of its box
_MIN_WINDOW = 96  # px
_MARGIN = 0.18  # share of the window; a face whose middle is nearer to the border moves the window


@contextmanager
def quiet() -> Iterator[None]:
    """Silence native logs while a MediaPipe graph starts.

    Its start-up lines ("Feedback manager requires ...") come before any log level is read, so the standard error
    channel itself is closed for that moment; what goes wrong is raised as an exception all the same.
    """
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def landmark_array(landmarks: Any) -> NDArray[np.float32]:
    """Return a NormalizedLandmarkList as (n, 3) float32."""
    raw = landmarks.SerializeToString()
    count = len(landmarks.landmark)
    if len(raw) == count * _RECORD:
        table = np.frombuffer(raw, np.uint8).reshape(count, _RECORD)
        return np.stack([table[:, 3:7], table[:, 8:12], table[:, 13:17]], axis=1).copy().view("<f4")[..., 0]
    return np.array([(p.x, p.y, p.z) for p in landmarks.landmark], np.float32)


class Window:
    """The part of the picture that FaceMesh gets to see: all of it, or a square round a face too small for it.

    FaceMesh's own detector sees the whole picture at 128 px and misses faces below about a tenth of its width. When
    nothing is found, MediaPipe's far-range detector (also in the wheel, 5 ms) looks now and then, and FaceMesh then
    works on a window round what it found. On the trial clips this brought five films without any face to 77-100 % of
    frames with one.
    """

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self.box: tuple[int, int, int, int] | None = None
        self._detector: Any = None
        self._next_search = -np.inf
        self._followed = False

    def forget(self) -> None:
        """Start a new segment."""
        self.box, self._next_search, self._followed = None, -np.inf, False

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what FaceMesh gets to see of the picture."""
        if self.box is None:
            return image
        x0, y0, x1, y1 = self.box
        return np.ascontiguousarray(image[y0:y1, x0:x1])

    def place(self, points: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return normalised points of the cropped picture in pixels of the whole one."""
        x0, y0, x1, y1 = self.box or (0, 0, image.shape[1], image.shape[0])
        return points * np.array([x1 - x0, y1 - y0, x1 - x0], np.float32) + np.array([x0, y0, 0], np.float32)

    def search(self, image: NDArray[np.uint8], time: float) -> bool:
        """Look for a small face, if it is time to; tell whether there is a new window to look through."""
        # A face that was in the window a moment ago is looked for at once: the camera may have been cut.
        just_lost, self._followed = self._followed and self.box is not None, False
        if self.config.search_interval <= 0 or (time < self._next_search and not just_lost):
            return False
        self._next_search = time + self.config.search_interval
        had, self.box = self.box, None
        if self._detector is None:
            with quiet():
                import mediapipe as mp

                self._detector = mp.solutions.face_detection.FaceDetection(
                    model_selection=1, min_detection_confidence=self.config.detection_confidence
                )
                self._detector.process(image)
        found = self._detector.process(image).detections
        if not found:
            return had is not None
        boxes = [detection.location_data.relative_bounding_box for detection in found]
        best = max(boxes, key=lambda box: box.width * box.height)
        height, width = image.shape[:2]
        centre = ((best.xmin + best.width / 2) * width, (best.ymin + best.height / 2) * height)
        self._set(centre, _ZOOM * max(best.width * width, best.height * height), image)
        return True

    def follow(self, points: NDArray[np.float32], image: NDArray[np.uint8]) -> bool:
        """Move the window after a face that nears its border; tell whether it moved."""
        self._followed = True
        if self.box is None:
            return False
        x0, y0, x1, y1 = self.box
        centre = points[:, :2].mean(axis=0)
        margin = _MARGIN * (x1 - x0)
        inside = np.array([centre[0] - x0, x1 - centre[0], centre[1] - y0, y1 - centre[1]]) >= margin
        # A border that is the picture's own cannot be moved away from.
        fixed = np.array([x0 <= 0, x1 >= image.shape[1], y0 <= 0, y1 >= image.shape[0]])
        if (inside | fixed).all():
            return False
        self._set((float(centre[0]), float(centre[1])), float(max(x1 - x0, y1 - y0)), image)
        return True

    def _set(self, centre: tuple[float, float], edge: float, image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        edge = min(max(edge, _MIN_WINDOW), height, width)
        x0 = int(np.clip(centre[0] - edge / 2, 0, width - edge))
        y0 = int(np.clip(centre[1] - edge / 2, 0, height - edge))
        self.box = (x0, y0, x0 + int(edge), y0 + int(edge))


@cache
def _lean_face_mesh() -> Any:
    """Return MediaPipe's FaceMesh with a way in that skips what ``process`` adds to every frame.

    ``process`` makes a new named tuple class and converts all outputs each time: .3 ms of 4.
    """
    from mediapipe.python import packet_creator, packet_getter
    from mediapipe.python._framework_bindings.image_frame import ImageFormat
    from mediapipe.python.solutions.face_mesh import FaceMesh

    class LeanFaceMesh(FaceMesh):
        def faces(self, image: NDArray[np.uint8]) -> list[Any]:
            self._graph_outputs.clear()
            self._simulated_timestamp += 33333  # us; as ``process`` does: FaceMesh has no use for real time
            packet = packet_creator.create_image_frame(image_format=ImageFormat.SRGB, data=image)
            self._graph.add_packet_to_input_stream(stream="image", packet=packet.at(self._simulated_timestamp))
            self._graph.wait_until_idle()
            packet = self._graph_outputs.get("multi_face_landmarks")
            return [] if packet is None or packet.is_empty() else packet_getter.get_proto_list(packet)

    return LeanFaceMesh


class Tracker:
    """One FaceMesh graph: finds a face, then follows it from frame to frame until it is lost."""

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self._graph: Any = None
        self._starting = True

    def reset(self) -> None:
        """Forget all faces: results after it do not depend on what came before."""
        self._starting = True

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Return (478, 3) points, normalised to the picture, or None."""
        if self._starting:
            with quiet():
                if self._graph is None:
                    self._graph = self._make()
                else:
                    self._graph.reset()
                faces = self._graph.faces(image)
                if not faces:
                    sleep(_START)
            self._starting = False
        else:
            faces = self._graph.faces(image)
        return landmark_array(faces[0])[:N_POINTS] if faces else None

    def _make(self) -> Any:
        import cv2

        cv2.setNumThreads(1)
        return _lean_face_mesh()(
            static_image_mode=False,
            refine_landmarks=True,
            max_num_faces=1,
            min_detection_confidence=self.config.detection_confidence,
            min_tracking_confidence=self.config.tracking_confidence,
        )


@BACKENDS.register("mesh")
class MeshBackend:
    """MediaPipe FaceMesh, one face, tracked from frame to frame; a fresh state for every segment."""

    packages: ClassVar[tuple[str, ...]] = ("mediapipe", "opencv-contrib-python")

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self._tracker = Tracker(config)
        self._window = Window(config)

    def metadata(self) -> dict[str, Any]:
        """Return nothing: the models are part of the package."""
        return {}

    def reset(self) -> None:
        """Forget the faces followed so far."""
        self._tracker.reset()

    def look(self, image: NDArray[np.uint8], time: float) -> NDArray[np.float32] | None:
        """Return the (478, 3) normalised points of the face in the part of the picture that is looked at, or None."""
        return self._tracker(image)

    def __call__(self, frames: Iterable[Frame]) -> Track:
        """Follow the face that FaceMesh finds first, until it is lost; then the next."""
        window = self._window
        self.reset()
        window.forget()
        times, points, texture = [], [], []
        for frame in frames:
            found = self.look(window.crop(frame.image), frame.time)
            if found is None and window.search(frame.image, frame.time):
                self.reset()
                found = self.look(window.crop(frame.image), frame.time)
            times.append(frame.time)
            if found is None:
                points.append(no_points())
                texture.append(no_texture())
                continue
            face = window.place(found, frame.image)
            points.append(face)
            texture.append(read_texture(face_picture(frame.image, face)))
            if window.follow(face, frame.image):
                self.reset()
        return Track(np.array(times, np.float64), stack(points, no_points()), stack(texture, no_texture()))
