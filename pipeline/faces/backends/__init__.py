"""Where facial points and action units come from, by the name of the backend in ``faces.backend``."""

from __future__ import annotations

from pipeline.faces.backends.base import Backend
from pipeline.faces.backends.blendshapes import BlendshapeBackend
from pipeline.faces.backends.mesh import MeshBackend
from pipeline.faces.backends.pyfeat import PyfeatBackend

__all__ = ["BACKENDS", "Backend"]

BACKENDS: dict[str, type[Backend]] = {"mesh": MeshBackend, "blendshapes": BlendshapeBackend, "pyfeat": PyfeatBackend}
