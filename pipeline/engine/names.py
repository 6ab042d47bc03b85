"""Names and texts as people and file systems write them: Unicode forms of names, encodings of text files."""

from __future__ import annotations

import codecs
import os
import unicodedata
from pathlib import Path

from pipeline.errors import InputError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
# Bytes of Windows-1252 that a program took for Latin-1: control characters in place of quotes, dashes and dots.
_C1 = {code: bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)}


def canonical(name: str) -> str:
    r"""Return a name without blanks around it and in one Unicode form (NFC), so that equal looks are equal names.

    >>> canonical("Jose\u0301 ") == "Jos\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name).strip()


def expand(path: str | Path) -> Path:
    """Return the path with a leading ``~`` replaced by the home, if there is one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where a user has no home


def locate(path: str | Path) -> Path:
    """Return ``path`` as its names are spelt on disk: macOS and some archives write them in another Unicode form.

    A path that exists, or whose names exist in no form, comes back as it is.
    """
    path = Path(path)
    if os.path.lexists(path) or path == path.parent:
        return path
    parent = locate(path.parent)
    if not path.name.isascii():
        wanted = unicodedata.normalize("NFC", path.name)
        try:
            found = sorted(other for other in parent.iterdir() if unicodedata.normalize("NFC", other.name) == wanted)
        except OSError:
            found = []
        if found:
            return found[0]
    return parent / path.name


def read_text(path: Path) -> str:
    """Return a small text file: UTF-8, UTF-16 or -32 with a mark, else the code page of an old Mac or of Windows.

    Raises:
        InputError: it is a Git-LFS pointer, or no text of these kinds.
    """
    raw = path.read_bytes()
    if raw.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git-LFS pointer, not the file itself; run `git lfs pull` in its folder")
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "")
    if b"\0" in raw and not encoding:
        raise InputError(f"{path} is no text file (it holds zero bytes); save it as text in UTF-8")
    # Classic Mac programs end lines with a carriage return alone.
    old = "mac_roman" if b"\r" in raw and b"\n" not in raw else "cp1252"
    for name in [encoding] if encoding else ["utf-8", old, "latin-1"]:
        try:
            return raw.decode(name).translate(_C1)
        except UnicodeDecodeError as error:
            reason = error.reason
    raise InputError(f"{path} starts as {encoding} and does not go on so ({reason}); save it as text in UTF-8")
