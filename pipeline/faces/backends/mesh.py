"""The default backend: MediaPipe's face models, all inside the wheel; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.config import FacesConfig
from pipeline.faces.texture import face_picture, read_texture
from pipeline.faces.track import Track, no_points, no_texture
from pipeline.faces.tracking.choosing import choose
from pipeline.faces.tracking.following import FaceFollower
from pipeline.faces.tracking.scene import Face, Scene
from pipeline.faces.tracking.talking import Sound
from pipeline.media import Frame


class MeshBackend:
    """MediaPipe's 478 points of every face, followed from frame to frame; of several faces the one that talks."""

    packages: ClassVar[tuple[str, ...]] = ("mediapipe", "opencv-contrib-python")

    def __init__(self, config: FacesConfig) -> None:
        self.config = config
        self._follow = FaceFollower(config)

    def metadata(self) -> dict[str, Any]:
        """Return nothing: the models are part of the package."""
        return {}

    def read(
        self, face: Face, image: NDArray[np.uint8], points: NDArray[np.float32], time: float
    ) -> dict[str, NDArray[np.float32]]:
        """Return what is read of a face in one picture besides its points."""
        return {"texture": read_texture(face_picture(image, points))}

    def empty(self) -> dict[str, NDArray[np.float32]]:
        """Return what ``read`` gives where there is no face."""
        return {"texture": no_texture()}

    def __call__(self, frames: Iterable[Frame], sound: Sound | None = None) -> Track:
        """Follow all faces; return the one that counts in each shot."""
        return assemble(self._follow(frames, self.read), self.empty(), sound)


def assemble(scene: Scene, empty: dict[str, NDArray[np.float32]], sound: Sound | None) -> Track:
    """Return the track made of the faces that count, one a shot.

    Args:
        scene: all faces.
        empty: readings of a frame without a face.
        sound: gives the sound, should there be a choice to make.
    """
    choice = choose(scene, sound)
    count = len(scene.time)
    columns = {"points": np.tile(no_points(), (count, 1, 1))}
    columns |= {name: np.tile(value, (count, 1)) for name, value in empty.items()}
    owner = np.full(count, -1)
    for face in choice.faces:
        owner[face.frames] = face.number
        for index, points, readings in zip(face.frames, face.points, face.readings, strict=True):
            columns["points"][index] = points
            for name, value in readings.items():
                columns[name][index] = value
    return Track(
        time=scene.time,
        parted=_parted(owner, scene.shot),
        n_faces=choice.n_faces,
        chosen_by=choice.rule,
        talk_score=choice.score,
        **columns,
    )


def _parted(owner: NDArray[np.intp], shot: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return True where another shot begins, or another face than the last one seen."""
    parted = np.diff(shot, prepend=shot[:1]) != 0
    at = np.flatnonzero(owner >= 0)
    parted[at[1:]] |= np.diff(owner[at]) != 0
    return np.asarray(parted)
