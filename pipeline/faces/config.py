"""Section ``faces`` of params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.config import Config


class PyfeatConfig(Config):
    """What py-feat's own detectors need (backend ``pyfeat``)."""

    detector: Literal["v1", "v2"] = Field(
        "v2", description="v1: RetinaFace, 68 landmarks, HOG + xgb or svm AUs; v2: one multitask network"
    )
    au_model: Literal["xgb", "svm"] = Field("xgb", description="classifier of AUs of detector v1")
    device: str = Field("cpu", description="torch device: cpu, cuda, cuda:1, mps or auto")
    batch_size: int = Field(16, ge=1, description="frames a forward pass; changes speed and memory")
    face_confidence: float = Field(0.5, gt=0, lt=1, description="RetinaFace score a face needs; py-feat's default")


class FacesConfig(Config):
    """How faces are found and when a frame counts. Defaults are ours where no source is named."""

    backend: Literal["mesh", "blendshapes", "pyfeat"] = Field("mesh", description="see pipeline.faces.backends")
    max_fps: float = Field(30.0, gt=0, description="Hz; frames that follow more closely are skipped (docs/faces.md)")
    max_height: int = Field(
        720, ge=64, description="px; taller frames are decoded smaller. The networks look at 128 and 192 px"
    )
    detection_confidence: float = Field(0.5, gt=0, lt=1, description="score a new face needs; MediaPipe's default")
    tracking_confidence: float = Field(
        0.5, gt=0, lt=1, description="score below which a tracked face is lost; MediaPipe's default"
    )
    search_interval: float = Field(
        0.5,
        ge=0,
        description="s between searches with the far-range detector while no face is found; 0: near faces only",
    )
    max_faces: int = Field(
        3, ge=1, description="faces followed at a time, the largest; of several the one that talks is taken"
    )
    adaptive: bool = Field(
        False, description="look at fewer frames while a face is calm (backends mesh, blendshapes; docs/faces.md)"
    )
    adaptive_frames: int = Field(2, ge=1, description="frames from one look to the next at a calm face, at most")
    adaptive_step: float = Field(
        0.1, gt=0, description="s from one look to the next at most: half of a short blink; slow films are not thinned"
    )
    adaptive_movement: float = Field(
        0.02,
        ge=0,
        description="inter-ocular distances that lids, mouth or brows move between two looks before the frames between "
        "them are looked at too",
    )
    min_interocular: float = Field(20.0, ge=0, description="px between outer eye corners at which quality is 0")
    good_interocular: float = Field(40.0, gt=0, description="px from which size no longer lowers quality")
    good_angle: float = Field(35.0, gt=0, description="deg of yaw or pitch up to which pose does not lower quality")
    max_angle: float = Field(75.0, gt=0, description="deg of yaw or pitch at which quality is 0")
    max_jitter: float = Field(
        0.06,
        gt=0,
        description="inter-ocular distances of frame-to-frame acceleration of the aligned face at which quality is 0",
    )
    min_quality: float = Field(
        0.25, ge=0, le=1, description="quality below which a frame is not valid; reached at 25 px between the eyes"
    )
    max_gap: float = Field(0.2, ge=0, description="s; shorter gaps in a track are interpolated, longer ones are not")
    smooth: float = Field(
        0.04,
        ge=0,
        description="s, standard deviation of the Gaussian over AU tracks; longer ones blunt onsets and blinks",
    )
    blendshapes_model: Path | None = Field(
        None, description="path of MediaPipe's face_landmarker.task (backend blendshapes)"
    )
    blendshapes_sha256: str | None = Field(
        None, description="expected SHA-256 of that file; empty: any file, its hash is recorded in the table"
    )
    pyfeat: PyfeatConfig = PyfeatConfig()
