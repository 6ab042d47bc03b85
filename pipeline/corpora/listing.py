"""The files of a corpus on disk, links followed, and what was passed over."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Listing:
    """The files below a folder: paths relative to the root, with ``/``."""

    files: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  #: macOS leaves ``._`` twins in archives
    closed: list[str] = field(default_factory=list)  #: folders that may not be read
    outside: list[str] = field(default_factory=list)  #: links to folders outside the root, whose files are refused
    again: list[str] = field(default_factory=list)  #: links to folders that are listed already, loops among them


def list_files(root: Path, below: str = "") -> Listing:
    """List the files below a folder of ``root``: real folders first, then linked ones, each folder once.

    Where a link leads out of the root, `pipeline.manifest.table` would refuse every row, so it is not followed.
    """
    listing = Listing()
    real_root = root.resolve()
    listed: set[Path] = set()
    starts = [root / below]
    while starts:
        links: list[Path] = []
        for start in starts:
            if not start.resolve().is_relative_to(real_root):
                listing.outside.append(_name(start, root))
                continue
            for here, folders, names in os.walk(start, onerror=lambda error: _closed(listing, error, root)):
                folder = Path(here)
                real = folder.resolve()
                if real in listed:
                    listing.again.append(_name(folder, root))
                    folders.clear()
                    continue
                listed.add(real)
                listing.hidden += [_name(folder / name, root) for name in (*folders, *names) if name.startswith(".")]
                listing.files += [_name(folder / name, root) for name in names if not name.startswith(".")]
                seen = sorted(name for name in folders if not name.startswith("."))
                links += [folder / name for name in seen if (folder / name).is_symlink()]
                folders[:] = [name for name in seen if not (folder / name).is_symlink()]
        starts = sorted(links)
    listing.files.sort()
    return listing


def _name(path: Path, root: Path) -> str:
    return os.fspath(path)[len(os.fspath(root / "_")) - 1 :].replace(os.sep, "/") or "."


def _closed(listing: Listing, error: OSError, root: Path) -> None:
    listing.closed.append(f"{_name(Path(error.filename), root)}: {error.strerror}")
