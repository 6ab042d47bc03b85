"""Films whose mouths move with the voice, and parameters that train on them in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.trainer.conftest import N_FEATURES, unlabelled_rows
from trainer.params import OrofacialParams

NAMES = ["lips_inner_013_x", "lips_inner_013_y", "jaw_152_x", "jaw_152_y"]
VISEMES = ["silence", "open"]
ABOUT = {
    "mouth": {"names": NAMES},
    "viseme": {"names": VISEMES},
    "config": {"shards": {"features": "lld"}, "acoustics": {}, "audio": {}},
    "frame_centre": 0.025,
}
SPEAKERS = ("a", "b", "c", "d")


def face_rows(*, per_speaker: int = 9, **options: Any) -> list[dict[str, Any]]:
    """Segments whose mouth opens with feature 4 on a face of the speaker's own; features 5 tells the viseme."""
    rng = np.random.default_rng(5)
    rows = unlabelled_rows("talk", speakers=SPEAKERS, per_speaker=per_speaker, **options)
    rest = {row["speaker"]: rng.normal(0, 1, len(NAMES)) for row in rows}
    for row in rows:
        frames = np.array(row["features"]).reshape(-1, N_FEATURES)
        knots = np.arange(0, len(frames) + 8, 8)
        slow = np.interp(np.arange(len(frames)), knots, rng.normal(size=len(knots)))
        frames[:, 4] += 150 * slow
        said = (frames[:, 5] > 1000).astype(np.int8)
        mouth = 0.1 * np.outer(slow, [0.1, -1.0, 0.2, -0.8]) + 0.005 * rng.normal(size=(len(frames), 4))
        mouth += rest[row["speaker"]]
        unseen = rng.random(len(frames)) < 0.1
        mouth[unseen], said[unseen] = np.nan, -1
        row |= {"features": frames.ravel().tolist(), "mouth": mouth.astype(np.float32).ravel().tolist()}
        row["viseme"] = said.tolist()
        row["split"] = "dev" if row["speaker"] == "d" else "train"
    return rows


def quick(**options: Any) -> OrofacialParams:
    section = {"seeds": [0], "hidden": 8, "epochs": 8, "min_clips": 3, "lr": 0.02, "dropout": 0.0, "batch_size": 8}
    return OrofacialParams.model_validate({**section, **options})
