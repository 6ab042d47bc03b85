"""Backend on py-feat's own detectors: RetinaFace and, by ``faces.pyfeat.detector``, their classical or multitask model.

py-feat 2.1.5 exports ``Detectorv1`` (RetinaFace, MobileFaceNet's 68 points, HOG + xgb or svm action units) and
``Detectorv2`` (RetinaFace, one network for action units and a 478-point mesh). Frames that are already decoded go in
as batches; its file reader and its data loader are not used. Weights come from the Hugging Face hub into py-feat's
own cache folder. Nothing is downloaded while a stage runs: missing weights are an error that names them.

Action units are py-feat's (0 to 1). Weights could not be had where this was developed: loading and inference were
tested with random weights in the real formats, the accuracy of the real ones was not measured.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.faces.config import FacesConfig, PyfeatConfig
from pipeline.faces.formulas import AU_NAMES
from pipeline.faces.meshmodel import mesh_model
from pipeline.faces.track import Track, no_points, no_texture, stack
from pipeline.faces.tracking.talking import Sound
from pipeline.media import Frame

Floats = NDArray[np.floating]

# Mesh points of the 68 landmarks of dlib's layout (py-feat: DLIB68_FROM_MP478).
# fmt: off
DLIB68 = (127, 234, 93, 132, 58, 172, 136, 150, 176, 148, 152, 377, 400, 379, 365, 397, 356, 70, 63, 105, 66, 107,
          336, 296, 334, 293, 300, 168, 6, 195, 4, 240, 75, 1, 305, 460, 33, 160, 158, 133, 153, 144, 362, 385, 387,
          263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)
# fmt: on
_SAME_FACE = 0.3  # overlap (intersection over union) of boxes in successive frames that makes them one face
_LOST = 1.0  # s without it after which another face may be followed


@dataclass(frozen=True)
class Weights:
    """A file on the Hugging Face hub; any one of ``names`` will do, the first is the newest."""

    repo: str
    names: tuple[str, ...]


_RETINAFACE = Weights("py-feat/retinaface_r34", ("model.safetensors", "retinaface_r34.safetensors"))
_WEIGHTS: dict[str, tuple[Weights, ...]] = {
    "v1-xgb": (
        _RETINAFACE,
        Weights("py-feat/mobilefacenet", ("mobilefacenet_model_best.pth.tar",)),
        Weights("py-feat/xgb_au", ("xgb_au_classifier_v2.skops", "xgb_au_classifier.skops")),
    ),
    "v1-svm": (
        _RETINAFACE,
        Weights("py-feat/mobilefacenet", ("mobilefacenet_model_best.pth.tar",)),
        Weights("py-feat/svm_au", ("svm_au_classifier_v2.skops", "svm_au_classifier.skops")),
    ),
    "v2": (_RETINAFACE, Weights("py-feat/face_multitask_v2", ("face_multitask_v28.safetensors",))),
}
_OWN_FILE = "FEAT_MULTITASK_WEIGHTS"  # py-feat's own variable: path of a local multitask checkpoint


def cache_folder() -> Path:
    """Return the hub cache that py-feat reads: its own resource folder.

    Raises:
        InputError: py-feat is not installed.

    """
    spec = importlib.util.find_spec("feat")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("faces.backend is pyfeat, but py-feat is not installed: pip install py-feat==2.1.5")
    return Path(spec.submodule_search_locations[0]) / "resources"


@contextmanager
def offline() -> Iterator[None]:
    """Keep the hub's library from asking the network, and from waiting for an answer.

    All that is needed was found in the cache before. py-feat looks for further files all the same (a pose network that
    is not used here) at the first frames, and without a network each look takes half a minute of retries.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def needed_weights(config: PyfeatConfig) -> tuple[Weights, ...]:
    """Return the files that the configured detector loads."""
    needed = _WEIGHTS["v2" if config.detector == "v2" else f"v1-{config.au_model}"]
    if config.detector == "v2" and os.environ.get(_OWN_FILE):
        needed = needed[:1]
    return needed


def find_weights(config: PyfeatConfig, folder: Path | None = None) -> dict[str, Path]:
    """Return "repo/file" to path for every file the detector needs, from the local cache alone.

    Raises:
        InputError: names each file that is missing, its repository, and how to fetch it once.

    """
    from huggingface_hub import try_to_load_from_cache

    folder = folder or cache_folder()
    found: dict[str, Path] = {}
    missing = []
    for weights in needed_weights(config):
        for name in weights.names:
            path = try_to_load_from_cache(weights.repo, name, cache_dir=str(folder))
            if isinstance(path, str):
                found[f"{weights.repo}/{name}"] = Path(path)
                break
        else:
            missing.append(f"{weights.names[0]} from https://huggingface.co/{weights.repo}")
    if missing:
        raise InputError(
            f"py-feat detector {config.detector} lacks weights in {folder}: {'; '.join(missing)}. "
            "Fetch them once, with a network: python -m pipeline models fetch. "
            "Or use faces.backend: mesh, which needs none"
        )
    return found


def fetch_models(folder: Path | None = None) -> None:
    """Download the weights of both detectors into py-feat's cache, and say which files came.

    Raises:
        InputError: the hub cannot be reached (or HF_HUB_OFFLINE is set), or the folder cannot be written.

    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    folder = folder or cache_folder()
    if constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set: unset it to download py-feat's weights")
    for weights in dict.fromkeys(weights for group in _WEIGHTS.values() for weights in group):
        try:
            path = hf_hub_download(weights.repo, weights.names[0], cache_dir=str(folder))
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            raise InputError(
                f"cannot fetch {weights.names[0]} from https://huggingface.co/{weights.repo} into {folder}: "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. Check the network, proxy and "
                "write permission; or copy that cache folder from a machine that has it"
            ) from error
        print(f"{weights.repo}/{weights.names[0]}: {path}")


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


def dense_points(landmarks: Floats) -> NDArray[np.float32]:
    """Return 478 mesh points (n, 478, 3) that pass through 68 landmarks (n, 68, 2) in pixels, MediaPipe's axes.

    The canonical face is put in the pose that fits best under a scaled orthographic camera (DeMenthon & Davis, IJCV
    15, 1995: one POS step), then bent onto the landmarks by a thin-plate spline in the picture plane. Depth is
    that of the posed canonical face. (The combination is ours.)
    """
    canonical = mesh_model().canonical * [1.0, -1.0, -1.0]
    sparse = canonical[list(DLIB68)]
    landmarks = np.asarray(landmarks, np.float64)
    centre, middle = sparse.mean(axis=0), landmarks.mean(axis=1)
    solver = np.linalg.pinv(sparse - centre)  # (3, 68)
    rows = np.einsum("ij,njk->nki", solver, landmarks - middle[:, None])  # (n, 2, 3)
    scale = np.sqrt(np.linalg.norm(rows[:, 0], axis=1) * np.linalg.norm(rows[:, 1], axis=1))
    u, _, vt = np.linalg.svd(rows, full_matrices=False)
    two = u @ vt
    rotation = np.concatenate([two, np.cross(two[:, 0], two[:, 1])[:, None]], axis=1)
    posed = scale[:, None, None] * np.einsum("nij,pj->npi", rotation, canonical - centre)
    posed[:, :, :2] += middle[:, None]
    bend = landmarks - posed[:, list(DLIB68), :2]
    posed[:, :, :2] += np.einsum("ps,nsk->npk", _spline(), bend)
    return posed.astype(np.float32)


@cache
def _spline() -> Floats:
    """Return (478, 68): how the 68 points' displacements spread over the mesh (thin plate, linear in them)."""
    from scipy.interpolate import RBFInterpolator

    face = mesh_model().canonical[:, :2]
    sites = face[list(DLIB68)]
    weights: Floats = RBFInterpolator(sites, np.eye(len(sites)), kernel="thin_plate_spline")(face)
    return weights


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
        if self.config.detector == "v2" and os.environ.get(_OWN_FILE):
            revisions[_OWN_FILE] = os.environ[_OWN_FILE]
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

    def _detect(self, images: list[NDArray[np.uint8]]) -> list[_Faces]:
        """Return the faces of each picture of one size."""
        import torch

        stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        zero, one = torch.zeros(len(images)), torch.ones(len(images))
        # What py-feat's data loader would say of frames that it neither scaled nor padded.
        batch = {
            "Image": stacked,
            "Padding": {"Left": zero, "Top": zero, "Right": zero, "Bottom": zero},
            "Scale": one,
        }
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
            faces.append(_Faces(boxes[own], points[own], aus[own]))
        return faces

    def _points(self, table: Any) -> NDArray[np.float32]:
        if self.config.detector == "v2":
            axes = [table[[f"mesh_{axis}_{i}" for i in range(478)]].to_numpy(np.float32) for axis in "xyz"]
            # x and y are in pixels; z is left in sizes of the square crop, which the face box is.
            axes[2] = axes[2] * table[["FaceRectWidth"]].to_numpy(np.float32)
            return np.stack(axes, axis=2)
        axes = [table[[f"{axis}_{i}" for i in range(68)]].to_numpy(np.float32) for axis in "xy"]
        landmarks = np.stack(axes, axis=2)
        points = np.full((len(landmarks), 478, 3), np.nan, np.float32)
        whole = np.isfinite(landmarks).all(axis=(1, 2))
        if whole.any():
            points[whole] = dense_points(landmarks[whole])
        return points


@dataclass(frozen=True, eq=False)
class _Faces:
    boxes: Floats  # (n, 4) left, top, width, height in px
    points: NDArray[np.float32]  # (n, 478, 3) px
    aus: NDArray[np.float32]  # (n, 20)


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    stream = iter(frames)
    while batch := list(islice(stream, size)):
        yield batch
