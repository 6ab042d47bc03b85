"""Planted voices, and faces whose mouths follow them."""

from __future__ import annotations

import numpy as np

from pipeline.faces.meshmodel import mesh_model
from pipeline.faces.tracking.scene import Face, Scene
from pipeline.faces.tracking.talking import RATE, Sound, expected_motion


def babble(seed, seconds=6.0):
    """Sound with syllables at random times, as noise of random level and colour."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 1e-4, round(seconds * RATE))
    at = 0.2
    while at < seconds - 0.3:
        length = rng.uniform(0.08, 0.25)
        part = slice(round(at * RATE), round((at + length) * RATE))
        count = part.stop - part.start
        carrier = sum(np.sin(2 * np.pi * hertz * np.arange(count) / RATE) for hertz in rng.uniform(200, 3500, 12))
        samples[part] += rng.uniform(0.01, 0.1) * np.hanning(count) * carrier
        at += length + rng.uniform(0.05, 0.3)
    return samples.astype(np.float32)


def sound(samples, start=0.0):
    return Sound(start, lambda: samples)


def face(number, motion, time, *, place=(100.0, 100.0), size=40.0, shot=0, first=0, noise=0.3, seed=0):
    """A planted face whose mouth and jaw follow ``motion`` (n, 2), with noise of that share of it."""
    rng = np.random.default_rng(seed)
    motion = motion / motion.std(axis=0)
    motion = motion + noise * rng.normal(size=motion.shape)
    shape = np.tile(mesh_model().canonical * [1.0, -1.0, -1.0], (len(time), 1, 1))
    shape[:, [14, 178, 402], 1] += 0.03 * motion[:, :1] + 0.1
    shape[:, 152, 1] += 0.03 * motion[:, 1]
    points = (shape * size + [*place, 0.0]).astype(np.float32)
    return Face(number, shot, list(range(first, first + len(time))), list(points), [{}] * len(time))


def moves(samples, time, delay=0.0):
    clock = np.arange(len(samples) // 160 + 1) * 0.01
    return np.stack([np.interp(time + delay, clock, column) for column in expected_motion(samples).T], axis=1)


TIME = np.arange(150) / 25


def scene_of(*faces, time=TIME, shot=None, size=(400, 200)):
    return Scene(time, np.zeros(len(time), int) if shot is None else shot, size, list(faces))
