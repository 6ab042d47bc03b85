"""Labels from stored landmarks are those from landmarks as they were found (docs/tables.md, Rounding)."""

from __future__ import annotations

import numpy as np

from pipeline.faces.landmarks import from_steps, to_steps
from pipeline.labels.config import FacialActivation
from pipeline.labels.statistics import facial_activation
from tests.pipeline.labels.conftest import wave


def test_facial_activation_is_the_same_label_and_nearly_the_same_number():
    """100 faces that move at .7 to 1.3 of one speed, as films differ; at least 99 labels by the median are equal."""
    task, found = FacialActivation(), []
    for seed, speed in enumerate(np.random.default_rng(0).uniform(0.7, 1.3, 100)):
        points, time, valid = wave(25, seconds=3.0, seed=seed)
        points = points * speed
        stored = from_steps({"landmark_steps": to_steps(points)})
        options = {"smooth": task.smooth, "max_step": task.max_step, "max_jump": task.max_jump}
        found.append([facial_activation(p, time, valid, **options).whole for p in (points, stored)])
    exact, rounded = np.array(found).T
    assert np.abs(rounded / exact - 1).max() < 0.01
    assert ((exact > np.median(exact)) == (rounded > np.median(rounded))).sum() >= 99
