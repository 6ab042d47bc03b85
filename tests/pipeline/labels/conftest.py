"""Films and units that several tests of labels share."""

from __future__ import annotations

import numpy as np


def wave(fps, *, seconds=6.0, noise=0.0, seed=1):
    """Frames of a face that sways like one that talks: 1 and 2.5 Hz, every point its own way."""
    rng = np.random.default_rng(seed)
    phase, size = rng.uniform(0, 6, (2, 478)), rng.uniform(0.01, 0.03, (2, 478))
    time = np.arange(round(seconds * fps)) / fps
    points = np.zeros((len(time), 478, 3))
    for axis, hertz in enumerate((1.0, 2.5)):
        points[:, :, axis] = size[axis] * np.sin(2 * np.pi * hertz * time[:, None] + phase[axis])
    points += np.random.default_rng(seed + 1).normal(scale=noise, size=points.shape)
    return points, time, np.ones(len(time), bool)


AUS = ["AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU12", "AU15", "AU20", "AU23", "AU26"]
