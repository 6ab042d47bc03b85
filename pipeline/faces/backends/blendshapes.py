"""Backend with 52 blendshapes: MediaPipe's FaceLandmarker, for whoever has a ``face_landmarker.task`` file.

Where the file comes from, what each blendshape adds and which were left out is in docs/action_units.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.faces.backends.mesh import MeshBackend
from pipeline.faces.config import FacesConfig
from pipeline.faces.formulas import AU_NAMES, UNIT
from pipeline.faces.timeline import Timeline, smooth
from pipeline.faces.track import Track
from pipeline.faces.tracking.graphs import quiet
from pipeline.faces.tracking.scene import Face
from pipeline.faces.tracking.talking import Sound
from pipeline.media import Frame

# MediaPipe's order (ARKit's names, "_neutral" first).
BLENDSHAPES: tuple[str, ...] = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip

# AU to blendshapes (left and right are averaged, several are summed), and our statistics of that sum on the trial
# clips: median over people, and the median standard deviation while they talk.
HELPS: dict[str, tuple[tuple[str, ...], float, float]] = {
    "AU02": (("browOuterUp",), 0.099, 0.069),
    "AU04": (("browDown",), 0.038, 0.050),
    "AU23": (("mouthPress",), 0.064, 0.065),
    "AU43": (("eyeBlink",), 0.185, 0.128),
}
WEIGHT = 0.5  # of a blendshape relative to the reading from geometry and grey levels, which counts 1


def model_file(config: FacesConfig) -> tuple[Path, str]:
    """Return the model's path and SHA-256.

    Raises:
        InputError: no path is given, there is no such file, or its hash is not the expected one.
    """
    path = config.blendshapes_model
    if path is None:
        raise InputError(
            "faces.backend is blendshapes, which needs faces.blendshapes_model: the path of MediaPipe's "
            "face_landmarker.task (download it from MediaPipe's face landmarker page), or use faces.backend: mesh"
        )
    if not path.is_file():
        raise InputError(f"faces.blendshapes_model: no file {path}; download face_landmarker.task or correct the path")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if config.blendshapes_sha256 and digest != config.blendshapes_sha256.lower():
        raise InputError(
            f"faces.blendshapes_model: {path.name} has SHA-256 {digest}, expected {config.blendshapes_sha256}: "
            "another version or a damaged download; replace the file or correct faces.blendshapes_sha256"
        )
    return path, digest


_WINDOW = 2.5  # edge of the square that the landmarker gets to see, in sizes of the face
_DRIFT = 0.4  # sizes of the face that it may move in it


@dataclass(eq=False)
class _View:
    """A FaceLandmarker of its own for one face, and the window of the picture that it looks through."""

    landmarker: Any
    box: tuple[int, int, int, int]  # left, top, right, bottom
    middle: NDArray[np.float32]
    size: float

    def holds(self, middle: NDArray[np.float32], size: float) -> bool:
        """Tell whether a face is still well inside the window."""
        return float(np.hypot(*(middle - self.middle))) < _DRIFT * self.size and 0.5 < size / self.size < 1.5


class BlendshapeBackend(MeshBackend):
    """The mesh backend's points, and FaceLandmarker in video mode for the blendshapes of each face that it follows."""

    packages: ClassVar[tuple[str, ...]] = ("mediapipe", "opencv-contrib-python")

    def __init__(self, config: FacesConfig) -> None:
        super().__init__(config)
        self._path, self._digest = model_file(config)
        self._views: dict[int, _View] = {}

    def metadata(self) -> dict[str, Any]:
        """Return the hash of the model file."""
        return {"face_landmarker.task": {"sha256": self._digest}, "blendshapes": list(BLENDSHAPES)}

    def empty(self) -> dict[str, NDArray[np.float32]]:
        """Return what ``read`` gives where there is no face."""
        return {**super().empty(), "blendshapes": np.full(len(BLENDSHAPES), np.nan, np.float32)}

    def read(
        self, face: Face, image: NDArray[np.uint8], points: NDArray[np.float32], time: float
    ) -> dict[str, NDArray[np.float32]]:
        """Return grey levels and blendshapes of a face in one picture."""
        middle, size = face.middle()
        view = self._views.get(face.number)
        fresh = view is None or not view.holds(middle, size)
        if view is None or fresh:
            self._close(face.number)
            view = self._views[face.number] = self._open(middle, size, image)
        x0, y0, x1, y1 = view.box
        shapes = self._look(view, np.ascontiguousarray(image[y0:y1, x0:x1]), time, fresh=fresh)
        return {**super().read(face, image, points, time), "blendshapes": shapes}

    def _look(self, view: _View, window: NDArray[np.uint8], time: float, *, fresh: bool) -> NDArray[np.float32]:
        import mediapipe as mp

        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=window)
        with quiet() if fresh else nullcontext():
            found = view.landmarker.detect_for_video(picture, round(time * 1000)).face_blendshapes
        if not found:
            return np.full(len(BLENDSHAPES), np.nan, np.float32)
        return np.array([shape.score for shape in found[0]], np.float32)

    def _open(self, middle: NDArray[np.float32], size: float, image: NDArray[np.uint8]) -> _View:
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(self._path)),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=1,
            min_face_detection_confidence=self.config.detection_confidence,
            min_face_presence_confidence=self.config.tracking_confidence,
            min_tracking_confidence=self.config.tracking_confidence,
            output_face_blendshapes=True,
        )
        half = _WINDOW / 2 * size
        low = np.maximum(np.floor(middle - half), 0).astype(int)
        high = np.minimum(np.ceil(middle + half), [image.shape[1], image.shape[0]]).astype(int)
        high = np.maximum(high, low + 1)
        box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        with quiet():
            return _View(vision.FaceLandmarker.create_from_options(options), box, middle, size)

    def _close(self, number: int) -> None:
        if number in self._views:
            self._views.pop(number).landmarker.close()

    def __call__(self, frames: Iterable[Frame], sound: Sound | None = None) -> Track:
        """Follow all faces; return the one that counts in each shot."""
        try:
            return super().__call__(frames, sound)
        finally:
            for number in list(self._views):
                self._close(number)


def read_blendshapes(shapes: NDArray[np.floating], name: str) -> NDArray[np.float64]:
    """Return one blendshape (n_frames,), the mean of left and right where there are two."""
    columns = [BLENDSHAPES.index(full) for full in (name, f"{name}Left", f"{name}Right") if full in BLENDSHAPES]
    return np.asarray(shapes[:, columns].mean(axis=1), np.float64)


def refine(
    aus: NDArray[np.floating], shapes: NDArray[np.floating], line: Timeline, *, sigma: float
) -> NDArray[np.float32]:
    """Return ``aus`` (n_frames, 20) with the units of ``HELPS`` improved by their blendshapes.

    Args:
        aus: level reading from geometry and grey levels.
        shapes: (n_frames, 52) blendshapes; where they are NaN the reading stays as it is.
        line: the usable frames.
        sigma: s, Gaussian smoothing.
    """
    result = np.array(aus, np.float32)
    for au, (names, neutral, scale) in HELPS.items():
        column = AU_NAMES.index(au)
        shape = np.sum([read_blendshapes(shapes, name) for name in names], axis=0)
        moved = smooth((shape - neutral) / scale, line, sigma=sigma) / UNIT
        both = (aus[:, column] + WEIGHT * moved) / np.sqrt(1 + WEIGHT**2)
        result[:, column] = np.where(np.isfinite(both), both, result[:, column])
    return result
