"""What a face backend is: frames in, points of one face a frame out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from pipeline.faces.config import FacesConfig
from pipeline.faces.track import Track
from pipeline.faces.tracking.talking import Sound
from pipeline.media import Frame


class Backend(Protocol):
    """A way of finding a face. One instance serves a process; calls are independent of each other."""

    packages: ClassVar[tuple[str, ...]]

    def __init__(self, config: FacesConfig) -> None: ...

    def metadata(self) -> dict[str, Any]:
        """Return what identifies models besides the packages' versions (file hashes), JSON-able and cheap."""
        ...

    def __call__(self, frames: Iterable[Frame], sound: Sound | None = None) -> Track:
        """Follow a face through the frames of one segment; ``sound`` is asked for only if there are several."""
        ...
