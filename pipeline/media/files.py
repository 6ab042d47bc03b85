"""Which ffmpeg runs, and which files it may open: local ones in known containers, nothing that points elsewhere."""

from __future__ import annotations

import codecs
import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.engine.names import locate
from pipeline.errors import InputError, Missing, Quarantined, Transient

# Demuxers that read one file and follow no reference out of it. Playlists and scripts (hls, dash, concat,
# image2, sdp, ...) are left out: a crafted one would make ffmpeg read other files or reach the network.
FORMATS = "mov,matroska,avi,flv,mpeg,mpegts,asf,mp3,wav,w64,flac,ogg,aac,aiff,caf,amr,au"
#: How names of files in these formats end, lower case.
AUDIO = frozenset({
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".mp3", ".mp2", ".mpa", ".m2a", ".m4a", ".m4b", ".m4r", ".f4a",
    ".isma", ".aac", ".adts", ".ogg", ".oga", ".opus", ".spx", ".wma", ".mka", ".aif", ".aiff", ".aifc", ".afc",
    ".caf", ".amr", ".awb", ".au", ".snd",
})  # fmt: skip
VIDEO = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mj2", ".psp", ".f4v", ".ismv", ".mkv", ".mk3d", ".webm", ".avi",
    ".divx", ".flv", ".mpg", ".mpeg", ".mpe", ".vob", ".mod", ".tod", ".ts", ".mts", ".m2ts", ".m2t", ".wmv", ".asf",
    ".ogv",
})  # fmt: skip
PROTOCOLS = "file"

_LFS = b"version https://git-lfs.github.com/spec/"
# How files begin that are no media but are often found under a media name.
_IMPOSTORS = (
    (rb"#EXTM3U", "is a playlist (HLS) and not a media file; name the files that it lists"),
    (rb"ffconcat version", "is a concat script and not a media file; name the files that it lists"),
    (rb"\[playlist\]", "is a playlist and not a media file; name the files that it lists"),
    (rb"v=0\r?\n", "is a stream description (SDP) and not a media file"),
    (rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<MPD", "is a playlist (DASH) and not a media file; name the files it lists"),
    (rb"(<!doctype )?html|<html", "is a web page, probably a failed download; download the file again"),
    (rb"/annex/objects/|\.\./\.git/annex", "is a git-annex pointer; run `git annex get` in its repository"),
)


def ffmpeg_exe() -> str:
    """Return the path of a working ffmpeg: ``$AVSER_FFMPEG``, else the system's, else imageio-ffmpeg's.

    Raises:
        InputError: none of them runs.
    """
    return _ffmpeg(os.environ.get("AVSER_FFMPEG"))[0]


def ffmpeg_version() -> str:
    """Return what the binary of :func:`ffmpeg_exe` says of itself, e.g. ``"7.1"``."""
    return _ffmpeg(os.environ.get("AVSER_FFMPEG"))[1]


def decodes_all() -> bool:
    """Tell whether an ffmpeg that the user names (``$AVSER_FFMPEG``) is to decode all sound, usual files too."""
    return bool(os.environ.get("AVSER_FFMPEG"))


def decoder_version() -> str:
    """Return what decodes sound: the version of the ffmpeg binary, and that of the libraries in this process."""
    import av

    return ffmpeg_version() if decodes_all() else f"{ffmpeg_version()}, libraries {av.ffmpeg_version_info}"


@functools.cache
def _ffmpeg(override: str | None) -> tuple[str, str]:
    candidates = [override] if override else [shutil.which("ffmpeg"), _bundled_ffmpeg()]
    for path in filter(None, candidates):
        try:
            done = subprocess.run(
                [path, "-version"], capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=True
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if found := re.match(r"ffmpeg version (\S+)", done.stdout):
            return path, found[1]
    if override:
        raise InputError(f"AVSER_FFMPEG={override} is not a working ffmpeg; correct it or unset it")
    raise InputError("no working ffmpeg: install ffmpeg, `pip install imageio-ffmpeg`, or set AVSER_FFMPEG")


def _bundled_ffmpeg() -> str | None:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # not installed, or a wheel without a binary for this machine
        return None


def content_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hex, read in blocks.

    Raises:
        Quarantined: it is no file that could be media (missing, empty, a folder, a pointer, text); Transient if it is
            missing or forbidden.
    """
    path = locate(path)
    check_file(path)
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def url(path: str | Path) -> str:
    """Return the path in a form that ffmpeg takes literally, whatever dashes, colons or ``%d`` are in it."""
    return f"file:{locate(path).absolute()}"


def check_file(path: str | Path) -> None:
    """Refuse what cannot be media, from its kind and first bytes.

    Raises:
        Quarantined: names what it is instead, and the remedy.
    """
    path = Path(path)
    if path.is_dir():
        raise Quarantined("is a folder, not a file")
    if not path.is_file():
        if path.exists():
            raise Quarantined("is not a regular file: check the path and the root of the manifest")
        raise Missing("no such file: check the path and the root of the manifest")
    try:
        with path.open("rb") as handle:
            head = handle.read(4096)
    except OSError as error:
        raise Transient(f"cannot be read: {error.strerror}") from error
    if not head:
        raise Quarantined("is empty (0 bytes); copy or download it again")
    if head.startswith(_LFS):
        raise Quarantined("is a Git-LFS pointer, not the file itself; run `git lfs pull` in its repository")
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    for pattern, reason in _IMPOSTORS:
        if re.match(pattern, start, re.IGNORECASE | re.DOTALL):
            raise Quarantined(reason)
    if _is_text(head):
        raise Quarantined("is text, not media")


def _is_text(head: bytes) -> bool:
    try:
        # Not final: the block may end in the middle of a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\n\r\f\v\ufeff" for char in text)


@contextmanager
def open_media(path: str | Path) -> Iterator[Any]:
    """Open a local media file with PyAV.

    Raises:
        Quarantined: it cannot be media, or is cut off, damaged or of a format that is not allowed.
    """
    import av

    path = locate(path)
    check_file(path)
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": FORMATS}
    try:
        container = av.open(url(path), options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise Quarantined(_why_unreadable(path, error)) from error
    with container:
        yield container


def _why_unreadable(path: Path, error: Exception) -> str:
    boxes = mp4_boxes(path)
    if boxes and b"moov" not in boxes:
        return "has no index (moov atom missing): cut off while recorded or copied; copy or download it again"
    return f"is not a readable media file of a supported format ({getattr(error, 'strerror', None) or error})"


def mp4_boxes(path: Path) -> list[bytes]:
    """Return the types of the top-level boxes of an MP4 or QuickTime file; empty if it is none."""
    boxes: list[bytes] = []
    size, end = 0, path.stat().st_size
    with path.open("rb") as handle:
        place = 0
        while place + 8 <= end and len(boxes) < 10_000:
            handle.seek(place)
            header = handle.read(16)
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if not boxes and kind not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
                return []
            boxes.append(kind)
            if size == 1:
                size = int.from_bytes(header[8:16], "big")
            if size < 8:  # 0: to the end of the file; else damaged
                break
            place += size
    return boxes
