"""Backend with 52 blendshapes: MediaPipe's FaceLandmarker, for whoever has a ``face_landmarker.task`` file.

The file is not part of the package (Google publishes it: "Face landmark detection guide", model float16/1, SHA-256
64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff). Its landmarks are FaceMesh's; the blendshapes add
to some action units what geometry reads badly.

BLENDSHAPE_TABLE
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.faces.aus import AU_NAMES, UNIT
from pipeline.faces.backends import BACKENDS, Track, no_points, no_texture, stack
from pipeline.faces.config import FacesConfig
from pipeline.faces.gaps import Timeline, from_shot_median, smooth
from pipeline.faces.mesh import Window, quiet
from pipeline.faces.meshmodel import N_POINTS
from pipeline.faces.texture import face_picture, read_texture
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


@BACKENDS.register("blendshapes")
class BlendshapeBackend:
    """MediaPipe FaceLandmarker in video mode, one face; a fresh landmarker for every segment."""

    packages: ClassVar[tuple[str, ...]] = ("mediapipe", "opencv-contrib-python")

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self._path, self._digest = model_file(config)
        self._window = Window(config)

    def metadata(self) -> dict[str, Any]:
        """Return the hash of the model file."""
        return {"face_landmarker.task": {"sha256": self._digest}, "blendshapes": list(BLENDSHAPES)}

    def _make(self) -> Any:
        import cv2
        from mediapipe.tasks.python import BaseOptions, vision

        cv2.setNumThreads(1)
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(self._path)),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=1,
            min_face_detection_confidence=self.config.detection_confidence,
            min_face_presence_confidence=self.config.tracking_confidence,
            min_tracking_confidence=self.config.tracking_confidence,
            output_face_blendshapes=True,
        )
        return vision.FaceLandmarker.create_from_options(options)

    def __call__(self, frames: Iterable[Frame]) -> Track:
        """Follow the face that is found first, until it is lost; then the next."""
        window = self._window
        window.forget()
        times, points, texture, shapes = [], [], [], []
        none = np.full(len(BLENDSHAPES), np.nan, np.float32)
        landmarker: Any = None
        try:
            for frame in frames:
                with quiet():
                    landmarker = landmarker or self._make()
                    result = _detect(landmarker, window.crop(frame.image), frame.time)
                    if not result.face_landmarks and window.search(frame.image, frame.time):
                        landmarker.close()
                        landmarker = self._make()
                        result = _detect(landmarker, window.crop(frame.image), frame.time)
                times.append(frame.time)
                if not result.face_landmarks:
                    points.append(no_points())
                    texture.append(no_texture())
                    shapes.append(none)
                    continue
                found = np.array([(p.x, p.y, p.z) for p in result.face_landmarks[0][:N_POINTS]], np.float32)
                face = window.place(found, frame.image)
                points.append(face)
                texture.append(read_texture(face_picture(frame.image, face)))
                shapes.append(np.array([shape.score for shape in result.face_blendshapes[0]], np.float32))
                if window.follow(face, frame.image):
                    landmarker.close()
                    landmarker = None
        finally:
            if landmarker is not None:
                landmarker.close()
        return Track(
            np.array(times, np.float64),
            stack(points, no_points()),
            stack(texture, no_texture()),
            blendshapes=stack(shapes, none),
        )


def _detect(landmarker: Any, image: NDArray[np.uint8], time: float) -> Any:
    import mediapipe as mp

    picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
    return landmarker.detect_for_video(picture, round(time * 1000))


def refine(
    aus: NDArray[np.floating], shapes: NDArray[np.floating], line: Timeline, *, sigma: float
) -> NDArray[np.float32]:
    """Return ``aus`` (n_frames, 20) with the units that blendshapes read better replaced or averaged.

    Args:
        aus: level reading from geometry and grey levels.
        shapes: (n_frames, 52) blendshapes.
        line: the usable frames.
        sigma: s, Gaussian smoothing.

    """
    return aus
