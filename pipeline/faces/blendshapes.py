"""Backend with 52 blendshapes: MediaPipe's FaceLandmarker, for whoever has a ``face_landmarker.task`` file.

The file is not part of the package (Google publishes it: "Face landmark detection guide", model float16/1, SHA-256
64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff).

Measured as in ``au_formulas`` (mean r per clip, same face): with blendshapes at half weight AU02 .66 to .67, AU04 .37
to .40, AU23 .28 to .33, AU43 .78 to .79; the mean of the 17 units .470 to .477 (all clips .425 to .429), never lower.
Both sets of speakers rose for these. Tried and left out: browInnerUp for AU01 (.74 to .74; one set loses), eyeWide for
AU05 (.33 to .40, but of a deviation of .005 that peaks at .1: as a level it would explode; in its own size +.01),
eyeSquint for AU06 (.74 to .73) and AU07 (.28 to .25), mouthUpperUp for AU10 (.41 to .39), mouthSmile for AU12 (.70 to
.70), mouthDimple, mouthPress and mouthSmile for AU14 (.36 to .36, .35, .35), mouthFrown for AU15 (.09 to .11, the same
tiny deviation), mouthShrugLower for AU17 (.44 to .42), mouthStretch for AU20 (.30 to .26), jawOpen for AU25 (.59 to
.60; one set loses) and AU26 (.48 to .47), mouthLowerDown and mouthUpperUp for AU25 (.59 to .58, .57);
cheekSquint, noseSneer, cheekPuff and jawForward hardly move. FaceLandmarker's own points in place of FaceMesh's gave
.474 against .507 on single-shot films with an earlier set of cues, so both run, at about 8 ms a frame more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.faces.au_formulas import AU_NAMES, UNIT
from pipeline.faces.backends import BACKENDS, Track, stack
from pipeline.faces.config import FacesConfig
from pipeline.faces.gaps import Timeline, smooth
from pipeline.faces.mesh import MeshBackend, quiet
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
WEIGHT = 0.5  # of a blendshape beside the reading from geometry and grey levels, which counts 1


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
class BlendshapeBackend(MeshBackend):
    """FaceMesh for the points, as ever, and FaceLandmarker in video mode for the blendshapes of the same picture."""

    packages: ClassVar[tuple[str, ...]] = ("mediapipe", "opencv-contrib-python")

    def __init__(self, config: FacesConfig) -> None:
        super().__init__(config)
        self._path, self._digest = model_file(config)
        self._landmarker: Any = None
        self._shapes: list[NDArray[np.float32]] = []

    def metadata(self) -> dict[str, Any]:
        """Return the hash of the model file."""
        return {"face_landmarker.task": {"sha256": self._digest}, "blendshapes": list(BLENDSHAPES)}

    def reset(self) -> None:
        """Forget the faces followed so far."""
        super().reset()
        if self._landmarker is not None:
            self._landmarker.close()
            self._landmarker = None

    def look(self, image: NDArray[np.uint8], time: float) -> NDArray[np.float32] | None:
        """Find the points, and keep the blendshapes where there are points."""
        points = super().look(image, time)
        if points is not None:
            self._shapes.append(self._read(image, time))
        return points

    def _read(self, image: NDArray[np.uint8], time: float) -> NDArray[np.float32]:
        import mediapipe as mp

        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        if self._landmarker is None:
            with quiet():
                self._landmarker = self._make()
                found = self._landmarker.detect_for_video(picture, round(time * 1000)).face_blendshapes
        else:
            found = self._landmarker.detect_for_video(picture, round(time * 1000)).face_blendshapes
        if not found:
            return np.full(len(BLENDSHAPES), np.nan, np.float32)
        return np.array([shape.score for shape in found[0]], np.float32)

    def _make(self) -> Any:
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
        return vision.FaceLandmarker.create_from_options(options)

    def __call__(self, frames: Iterable[Frame]) -> Track:
        """Follow the face that is found first, until it is lost; then the next."""
        self._shapes = []
        track = super().__call__(frames)
        self.reset()
        none = np.full(len(BLENDSHAPES), np.nan, np.float32)
        shapes = np.tile(none, (len(track.time), 1))
        shapes[np.isfinite(track.points[:, 0, 0])] = stack(self._shapes, none)
        return replace(track, blendshapes=shapes)


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
