"""The place that all machines of a run share: small pieces of content under names, each there whole or not at all."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from pipeline.engine.files import replace_file


class Folder:
    """A folder, of this machine or of a network file system.

    Attributes:
        root: absolute, since a worker of a remote cluster was started in a folder of its own.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def __str__(self) -> str:
        return str(self.root)

    def path(self, name: str) -> Path:
        """Return where the content of this name lies or would lie."""
        return self.root / name

    def put(self, name: str, content: bytes) -> None:
        """Store ``content``, in the place of whatever lies there.

        Raises:
            InputError: the disk is full, read-only or closed.
        """
        path = self.path(name)
        if path.is_dir():
            shutil.rmtree(path)
        replace_file(path, lambda temporary: temporary.write_bytes(content))

    def get(self, name: str) -> bytes | None:
        """Return the content of this name, None where there is none that can be read."""
        try:
            return self.path(name).read_bytes()
        except OSError:
            return None

    def remove_all(self, name: str) -> None:
        """Remove what lies below this name, as far as that works."""
        shutil.rmtree(self.path(name), ignore_errors=True)

    def wait_for(self, name: str, *, seconds: float) -> bytes | None:
        """Return the content of this name as soon as it is seen: a network file system may take a while.

        Returns:
            None where it is not seen ``seconds`` later.
        """
        end = time.monotonic() + seconds
        while (found := self.get(name)) is None and time.monotonic() < end:
            time.sleep(0.1)
        return found
