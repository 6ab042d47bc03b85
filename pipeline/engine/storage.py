"""A disk that is full, read-only or closed: a fault of the machine that stops a run before it costs a clip."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from pipeline.errors import InputError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
CLOSED = {errno.EACCES, errno.EPERM}
REMEDY = "Nothing that was finished is lost: mend it and run the same command again"


ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}  # there is no such file; no fault of the machine


def cannot_write(folder: Path | str, error: OSError) -> InputError:
    """Return the sentence for people about a folder that nothing can be written to."""
    place = f" ({error.filename})" if isinstance(error.filename, str) and error.filename != str(folder) else ""
    return InputError(f"cannot write to {folder}: {error.strerror or error}{place}. {REMEDY}")


def cannot_read(path: Path | str, error: OSError) -> InputError:
    """Return the sentence for people about a file that is there and cannot be read."""
    return InputError(f"cannot read {path}: {error.strerror or error}. {REMEDY}")


def check_temporary(error: OSError | None = None) -> None:
    """Make sure that the folder of temporary files can be written to, so that a failure is not the disk's.

    Args:
        error: what failed; a full disk that it tells of is one, wherever.

    Raises:
        InputError: the disk is full, read-only or closed.
    """
    if error is not None and error.errno in FULL:
        place = Path(error.filename).parent if isinstance(error.filename, str) else _temporary_folder()
        raise cannot_write(place, error) from error
    try:
        with tempfile.TemporaryFile() as handle:
            handle.write(bytes(1 << 16))
            handle.flush()
    except OSError as wrong:
        raise cannot_write(_temporary_folder(), wrong) from wrong


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # none of the usual ones can be written to
        return "the folder of temporary files (TMPDIR)"
