"""Face photographs that talk: a photo, action-unit intensities over time, and a dense warp by triangles.

MediaPipe FaceMesh has found 478 points in the photo, ``muscles`` says where every point goes for given action units,
and the picture follows its points: each triangle of the mesh is mapped affinely. What this cannot show is new
texture (wrinkles, teeth behind closed lips) and turns of the head out of the picture plane.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from pipeline.faces.align import umeyama
from pipeline.faces.meshmodel import OVAL
from pipeline.synthetic.muscles import (
    CHANNELS,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LOWER_LIDS,
    LOWER_LIP,
    STABLE,
    UPPER_LIDS,
    UPPER_LIP,
    FloatArray,
    mesh_basis,
    smooth_step,
)
from pipeline.synthetic.photos import FacePhoto, package_file

# px: linear algebra may differ in its last bits with the number of threads; rounding keeps the films byte-identical.
_DIGITS = 6


class Animator:
    """Renders one photograph under action units and in-plane head motion.

    Args:
        photo: the photograph and its landmarks.
        relax: first bring an expressive photo to rest (smile taken back, lips closed), so that channels at 0 mean the
            same on every face.
    """

    def __init__(self, photo: FacePhoto, *, relax: bool = True) -> None:
        self.photo = photo
        self.size = photo.image.shape[0]
        basis, neutral = mesh_basis()
        stable = list(STABLE)
        upright = photo.landmarks * np.array([1.0, -1.0, -1.0])  # MediaPipe: y down, z away from the camera
        scales, rotations, _ = umeyama(neutral[None, stable], upright[stable])
        self.scale, rotation = float(scales[0]), rotations[0]  # px per inter-ocular distance, turn of the head
        #: px per unit of each channel: (21, 478, 2)
        self.basis = np.round((self.scale * basis @ rotation.T)[..., :2] * np.array([1.0, -1.0]), _DIGITS)
        tessellation = json.loads(
            package_file("feat", "resources/canonical_face_tessellation.json").read_text(encoding="utf-8")
        )
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
        self.triangles = self.triangles[np.argsort(np.logical_not(opening), kind="stable")]
        self.photo_gap = self._gap(self.source)
        self.rest = self._relaxed() if relax else np.zeros(len(CHANNELS))
        yy, xx = np.mgrid[: self.size, : self.size].astype(np.float32)
        self._x, self._y = xx.ravel(), yy.ravel()
        self._corners_source = np.dstack([self.source[self.triangles], np.ones((len(self.triangles), 3))])

    def points(self, channels: FloatArray) -> FloatArray:
        """Return landmarks in px without head motion, (..., 478, 2), for channel intensities (..., 21)."""
        moved = self.photo.landmarks[:, :2] + np.tensordot(np.asarray(channels) + self.rest, self.basis, 1)
        moved = np.round(moved, _DIGITS)
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

        Args:
            channels: (T, 21) intensities of ``CHANNELS``.
            head: (T, 4) relative size (1 = the photo's), roll in degrees, shift right and down in shares of the
                canvas; the whole picture moves. None: no head motion.
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
        for k, triangle in zip(keep.tolist(), fixed[keep], strict=True):
            cv2.fillConvexPoly(ids, triangle, k, cv2.LINE_8, 4)
        # Backward affine map of each triangle, canvas to photo; the last row is the still background.
        homogeneous = np.dstack([corners, np.ones(corners.shape[:2])])
        maps = np.zeros((len(corners) + 1, 3, 2))
        maps[keep] = np.linalg.solve(homogeneous[keep], self._corners_source[keep, :, :2])
        inverse = np.linalg.inv(turn)
        maps[-1] = np.vstack([inverse.T, -inverse @ shift])
        own = np.take(maps.reshape(-1, 6).astype(np.float32), ids.ravel(), axis=0)  # (pixels, 6): the triangle's map
        x, y = self._x, self._y
        map_x = own[:, 0] * x + own[:, 2] * y + own[:, 4]
        map_y = own[:, 1] * x + own[:, 3] * y + own[:, 5]
        frame = cv2.remap(
            self.photo.image, map_x.reshape(size, size), map_y.reshape(size, size), cv2.INTER_LINEAR, None,
            cv2.BORDER_REFLECT_101,
        )  # fmt: skip
        self._paint_mouth(frame, target, turn, shift)
        return frame

    def _paint_mouth(self, frame: np.ndarray, target: FloatArray, turn: FloatArray, shift: FloatArray) -> None:
        """Darken the mouth's inside as far as it opens beyond what the photo itself shows."""
        import cv2

        depth = float(smooth_step(np.array(self._gap(target) - self.photo_gap), 0.004, 0.06)) * 0.92
        if depth <= 0:
            return
        loop = [78, *INNER_UPPER_LIP, 308, *INNER_LOWER_LIP[::-1]]
        polygon = target[loop] @ turn.T + shift
        mask = np.zeros(frame.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
        x, y, w, h = cv2.boundingRect(np.round(polygon).astype(np.int32))
        area = np.s_[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2]
        alpha = cv2.GaussianBlur(mask[area], (3, 3), 0)[..., None] * (depth / 255.0)
        frame[area] = (frame[area] * (1 - alpha) + np.array([52, 20, 20]) * alpha).astype(np.uint8)

    def _gap(self, points: FloatArray) -> float:
        """Return the opening between the lips, in inter-ocular distances."""
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
        # A jaw is dropped if the lips are more than .09 apart; less is a smile that shows teeth.
        rest[jaw] = -np.clip((opening(rest) - 0.09 * self.scale) / drop, 0, 0.9)
        rest[part] = -max(opening(rest), 0) / (self.basis[part, 14, 1] - self.basis[part, 13, 1])
        return rest
