"""Backend on py-feat's own detectors: RetinaFace and, by ``faces.pyfeat.detector``, their classical or multitask model.

Frames that are already decoded go in as batches. Action units are py-feat's (0 to 1). Nothing is downloaded while a
stage runs: missing weights are an error that names them. What was tested without the real weights: docs/faces.md.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.faces.backends.dlib68 import dense_points
from pipeline.faces.backends.pyfeat_weights import OWN_FILE, find_weights, offline
from pipeline.faces.config import FacesConfig
from pipeline.faces.formulas import AU_NAMES
from pipeline.faces.meshmodel import N_POINTS
from pipeline.faces.track import Track, no_points, no_texture, stack
from pipeline.faces.tracking.talking import Sound
from pipeline.media import Frame

Floats = NDArray[np.floating]

_SAME_FACE = 0.3  # overlap (intersection over union) of boxes in successive frames that makes them one face
_LOST = 1.0  # s without it after which another face may be followed


@dataclass(frozen=True, eq=False)
class Faces:
    """All faces of one picture."""

    boxes: Floats  # (n, 4) left, top, width, height in px
    points: NDArray[np.float32]  # (n, 478, 3) px
    aus: NDArray[np.float32]  # (n, 20)


class Follower:
    """Picks one of the faces of each frame, so that one speaker stays one speaker.

    The face that overlaps the last one most; after a second without it, or at the start, the largest.
    """

    def __init__(self) -> None:
        self._box: Floats | None = None
        self._seen = -np.inf

    def __call__(self, boxes: Floats, time: float) -> int | None:
        """Return the index of the face to follow among boxes (n, 4: left, top, width, height), or None."""
        if not len(boxes):
            return None
        if self._box is not None and time - self._seen <= _LOST:
            overlap = np.array([_overlap(self._box, box) for box in boxes])
            best = int(overlap.argmax())
            if overlap[best] < _SAME_FACE:
                return None
        else:
            best = int((boxes[:, 2] * boxes[:, 3]).argmax())
        self._box, self._seen = boxes[best], time
        return best


def _overlap(a: Floats, b: Floats) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / max(float(a[2] * a[3] + b[2] * b[3]) - shared, 1e-9)


class PyfeatBackend:
    """py-feat's Detectorv1 or Detectorv2 over batches of decoded frames."""

    packages: ClassVar[tuple[str, ...]] = ("torch", "torchvision", "xgboost", "scikit-learn", "timm")

    def __init__(self, config: FacesConfig) -> None:
        self.config = config.pyfeat
        self._weights = find_weights(self.config)
        self._detector: Any = None

    def metadata(self) -> dict[str, Any]:
        """Return the detector and the hub revision (or local file) of each of its weights."""
        # .../models--owner--name/snapshots/<revision>/<file>
        revisions = {name: path.parent.name for name, path in self._weights.items()}
        if self.config.detector == "v2" and os.environ.get(OWN_FILE):
            revisions[OWN_FILE] = os.environ[OWN_FILE]
        return {"detector": f"Detector{self.config.detector}", "weights": revisions}

    def _load(self) -> Any:
        """Construct the detector.

        Raises:
            InputError: py-feat itself misses a file.
        """
        import feat
        import torch
        from huggingface_hub.errors import LocalEntryNotFoundError

        torch.set_num_threads(1)
        try:
            with warnings.catch_warnings(), offline():
                warnings.simplefilter("ignore")  # it explains at length how it estimates a pose that is not used here
                if self.config.detector == "v2":
                    return feat.Detectorv2(
                        device=self.config.device,
                        identity_model=None,
                        face_detection_threshold=self.config.face_confidence,
                    )
                return feat.Detectorv1(
                    au_model=self.config.au_model,
                    emotion_model=None,
                    identity_model=None,
                    gaze_model=None,
                    device=self.config.device,
                )
        except LocalEntryNotFoundError as error:
            raise InputError(
                f"py-feat lacks a weight file: {error}. Fetch all of them once: python -m pipeline models fetch"
            ) from error

    def __call__(self, frames: Iterable[Frame], sound: Sound | None = None) -> Track:
        """Follow one face, the largest at first, through the frames."""
        self._detector = self._detector or self._load()
        follow = Follower()
        times, points, aus = [], [], []
        no_aus = np.full(len(AU_NAMES), np.nan, np.float32)
        for batch in _batches(frames, self.config.batch_size):
            for frame, faces in zip(batch, self._detect([frame.image for frame in batch]), strict=True):
                times.append(frame.time)
                chosen = follow(faces.boxes, frame.time)
                points.append(no_points() if chosen is None else faces.points[chosen])
                aus.append(no_aus if chosen is None else faces.aus[chosen])
        found = stack(points, no_points())
        texture = np.tile(no_texture(), (len(found), 1))
        return Track(np.array(times, np.float64), found, texture, aus=stack(aus, no_aus))

    def _detect(self, images: list[NDArray[np.uint8]]) -> list[Faces]:
        """Return the faces of each picture of one size."""
        import torch

        stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        zero, one = torch.zeros(len(images)), torch.ones(len(images))
        # What py-feat's data loader would say of frames that it neither scaled nor padded.
        batch = {"Image": stacked, "Padding": {"Left": zero, "Top": zero, "Right": zero, "Bottom": zero}, "Scale": one}
        with warnings.catch_warnings(), offline():
            warnings.simplefilter("ignore")
            detected = self._detector.detect_faces(stacked, face_detection_threshold=self.config.face_confidence)
            table = self._detector.forward(detected, batch)
        frame_of = np.repeat(np.arange(len(images)), [len(found["scores"]) for found in detected])
        boxes = table[["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]].to_numpy(np.float64)
        aus = table[list(AU_NAMES)].to_numpy(np.float32)
        points = self._points(table)
        # A frame without a face has one row of NaN.
        real = np.isfinite(boxes).all(axis=1) & np.isfinite(points).all(axis=(1, 2))
        faces = []
        for index in range(len(images)):
            own = real & (frame_of == index)
            faces.append(Faces(boxes[own], points[own], aus[own]))
        return faces

    def _points(self, table: Any) -> NDArray[np.float32]:
        if self.config.detector == "v2":
            axes = [table[[f"mesh_{axis}_{i}" for i in range(N_POINTS)]].to_numpy(np.float32) for axis in "xyz"]
            # x and y are in pixels; z is left in sizes of the square crop, which the face box is.
            axes[2] = axes[2] * table[["FaceRectWidth"]].to_numpy(np.float32)
            return np.stack(axes, axis=2)
        axes = [table[[f"{axis}_{i}" for i in range(68)]].to_numpy(np.float32) for axis in "xy"]
        landmarks = np.stack(axes, axis=2)
        points = np.full((len(landmarks), N_POINTS, 3), np.nan, np.float32)
        whole = np.isfinite(landmarks).all(axis=(1, 2))
        if whole.any():
            points[whole] = dense_points(landmarks[whole])
        return points


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    stream = iter(frames)
    while batch := list(islice(stream, size)):
        yield batch
