"""What the command line or a program names, as clips: files, folders of them, and manifests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError


@dataclass(frozen=True)
class Clip:
    """One recording, or an utterance in one.

    Attributes:
        file: its path as people know it.
        name: the clip's id in a manifest, else ``file``; ``<name>#000`` are its segments.
        path: where it lies.
        start: s, where the utterance begins; None: where the file does.
        end: s.
        labelled: a manifest says what there is to hear, so that it is not cut.
        speaker: ``corpus/speaker`` of a manifest; "": nobody knows.
        fault: why the row of a manifest cannot be used; "": it can.
    """

    file: str
    name: str
    path: Path
    start: float | None = None
    end: float | None = None
    labelled: bool = False
    speaker: str = ""
    fault: str = ""


def find_clips(sources: Iterable[str | Path], *, root: str | Path | None = None) -> list[Clip]:
    """Return all clips that are named, in order, each once.

    Args:
        sources: media files, folders (all media files below them, by their endings) and manifests (``.csv``).
        root: folder that the paths in a manifest start from; None: the manifest's own.

    Raises:
        InputError: a source is not there, a folder holds no media file, or a manifest is wrong as a whole.
    """
    found: dict[tuple[str, str], Clip] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            clips = _of_folder(path)
        elif not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        elif path.suffix.lower() == ".csv":
            clips = _of_manifest(path, path.parent if root is None else Path(root))
        else:
            clips = [Clip(str(path), str(path), path)]
        found |= {(clip.file, clip.name): clip for clip in clips}
    return list(found.values())


def _of_folder(folder: Path) -> list[Clip]:
    from pipeline.corpora.listing import list_files
    from pipeline.corpora.reading import MEDIA, suffix

    listed = [folder / path for path in list_files(folder).files if suffix(path) in MEDIA["all"]]
    if not listed:
        raise InputError(f"{folder} holds no media files (.wav, .flac, .mp3, .mp4, .mkv ...)")
    return [Clip(str(path), str(path), path) for path in listed]


def _of_manifest(manifest: Path, root: Path) -> list[Clip]:
    from pipeline.engine.names import locate
    from pipeline.engine.places import records
    from pipeline.manifest.row import is_labelled
    from pipeline.manifest.table import check_manifest

    table, problems = check_manifest(manifest, root=root)
    clips = []
    for row in records(table):
        path = locate(root / row["path"])
        times, speaker = (row.get("start"), row.get("end")), f"{row['corpus']}/{row['speaker']}"
        clips.append(Clip(str(path), row["clip_id"], path, *times, labelled=is_labelled(row), speaker=speaker))
    for problem in problems:
        written = problem.cells.get("path", "")
        clips.append(Clip(str(root / written), problem.clip_id, root / written, fault=problem.message))
    return clips
