"""MediaPipe's networks, one at a time: where faces are in a picture, and the 478 points of a face whose place is known.

FaceMesh follows one face. Here a face is followed by asking for its points where the last frame's points were, by the
same sub-graphs from the same wheel, so any number of faces share one graph. The graph holds no state: results cannot
depend on what was looked at before. What each step costs is in docs/faces.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from time import sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.config import FacesConfig
from pipeline.faces.meshmodel import N_POINTS

# Protocol-buffer layout of one NormalizedLandmark in its list: tag, length 15, then three tagged float32.
_RECORD = np.dtype(
    {"names": ["tags", "x", "y", "z"], "formats": ["S3", "<f4", "<f4", "<f4"], "offsets": [0, 3, 8, 13], "itemsize": 17}
)
_TAGS = b"\x0a\x0f\x0d"
_START = 0.1  # s; a graph's models still load, and log, when its first picture is done
_STEP = 33333  # us between pictures on the graph's clock, which no node looks at
_REACH = 1.5  # edge of the square that the points are looked for in, in sizes of the face's box; FaceMesh's own

_POINTS_GRAPH = """
executor { type: "ApplicationThreadExecutor" }
input_stream: "image"
input_stream: "place"
input_side_packet: "with_attention"
output_stream: "points"
output_stream: "next_place"
node {
  calculator: "ImagePropertiesCalculator"
  input_stream: "IMAGE:image"
  output_stream: "SIZE:size"
}
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:place"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:points"
}
node {
  calculator: "FaceLandmarkLandmarksToRoi"
  input_stream: "LANDMARKS:points"
  input_stream: "IMAGE_SIZE:size"
  output_stream: "ROI:next_place"
}
"""
_THRESHOLD = "facelandmarkcpu__ThresholdingCalculator.threshold"


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


def landmark_array(raw: bytes) -> NDArray[np.float32]:
    """Return a serialised NormalizedLandmarkList as (n, 3) float32."""
    if len(raw) % _RECORD.itemsize == 0:
        table = np.frombuffer(raw, _RECORD)
        if (table["tags"] == _TAGS).all():
            return np.array([table["x"], table["y"], table["z"]]).T
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmarkList

    return np.array([(p.x, p.y, p.z) for p in NormalizedLandmarkList.FromString(raw).landmark], np.float32)


@dataclass(frozen=True)
class Box:
    """A detected face, in pixels: its middle, the longer edge of its box, and its tilt (radians, clockwise)."""

    x: float
    y: float
    edge: float
    tilt: float


class Points:
    """The 478 points of a face whose place in the picture is known."""

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self._graph: Any = None

    def __call__(self, image: NDArray[np.uint8], place: Any) -> tuple[NDArray[np.float32], Any] | None:
        """Return (478, 3) points in pixels (x right, y down, z away) and the place to look at next; None: no face.

        Args:
            image: (height, width, 3) RGB.
            place: what ``place`` or the last call returned.
        """
        if self._graph is None:
            with quiet():
                self._graph = _points_graph()(self.config.tracking_confidence)
                found = self._graph.look(image, place)
                sleep(_START)
        else:
            found = self._graph.look(image, place)
        if found is None:
            return None
        height, width = image.shape[:2]
        return landmark_array(found[0])[:N_POINTS] * np.array([width, height, width], np.float32), found[1]

    @staticmethod
    def place(box: Box, image: NDArray[np.uint8]) -> Any:
        """Return the place to look at for the face in a box, as FaceMesh makes it from a detection."""
        from mediapipe.framework.formats.rect_pb2 import NormalizedRect
        from mediapipe.python import packet_creator

        height, width = image.shape[:2]
        edge = _REACH * box.edge
        return packet_creator.create_proto(
            NormalizedRect(
                x_center=box.x / width,
                y_center=box.y / height,
                width=edge / width,
                height=edge / height,
                rotation=box.tilt,
            )
        )


@cache
def _points_graph() -> Any:
    import cv2
    from mediapipe.python import packet_creator
    from mediapipe.python._framework_bindings._packet_getter import _get_serialized_proto as serialised
    from mediapipe.python._framework_bindings.image_frame import ImageFormat
    from mediapipe.python.solution_base import SolutionBase

    cv2.setNumThreads(1)

    class PointsGraph(SolutionBase):
        """``process`` makes a new named tuple class and converts all outputs each time: .3 ms that ``look`` saves."""

        def __init__(self, confidence: float) -> None:
            super().__init__(
                graph_config=_POINTS_GRAPH,
                calculator_params={_THRESHOLD: confidence},
                side_inputs={"with_attention": True},
            )

        def look(self, image: NDArray[np.uint8], place: Any) -> tuple[Any, Any] | None:
            self._graph_outputs.clear()
            self._simulated_timestamp += _STEP
            now = self._simulated_timestamp
            picture = packet_creator.create_image_frame(image_format=ImageFormat.SRGB, data=image)
            self._graph.add_packet_to_input_stream(stream="image", packet=picture.at(now))
            self._graph.add_packet_to_input_stream(stream="place", packet=place.at(now))
            self._graph.wait_until_idle()
            points = self._graph_outputs.get("points")
            if points is None or points.is_empty():
                return None
            # The bytes themselves: packet_getter.get_proto makes 478 objects of them, to be made bytes again.
            return serialised(points), self._graph_outputs["next_place"]

    return PointsGraph


class Detector:
    """Where faces are in a picture: MediaPipe's far-range or near-range detector.

    The far-range one sees faces down to about a thirtieth of the picture's width, and misses some that fill it; the
    near-range one is what FaceMesh uses, cheaper, and misses faces below about a tenth.
    """

    def __init__(self, config: FacesConfig, *, far: bool) -> None:
        self.config, self._far = config, far
        self._solution: Any = None

    def __call__(self, image: NDArray[np.uint8]) -> list[Box]:
        """Return the faces found, the largest first."""
        if self._solution is None:
            with quiet():
                import mediapipe as mp

                self._solution = mp.solutions.face_detection.FaceDetection(
                    model_selection=int(self._far), min_detection_confidence=self.config.detection_confidence
                )
                self._solution.process(image)
                sleep(_START)
        height, width = image.shape[:2]
        boxes = []
        for detection in self._solution.process(image).detections or []:
            box = detection.location_data.relative_bounding_box
            right, left = detection.location_data.relative_keypoints[:2]  # eyes, the subject's right one first
            boxes.append(
                Box(
                    (box.xmin + box.width / 2) * width,
                    (box.ymin + box.height / 2) * height,
                    max(box.width * width, box.height * height),
                    float(np.arctan2((left.y - right.y) * height, (left.x - right.x) * width)),
                )
            )
        return sorted(boxes, key=lambda found: (-found.edge, found.x, found.y))
