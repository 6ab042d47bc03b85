"""``python -m pipeline``: in UTF-8 whatever the locale, with caches that can be written whatever the home."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path


def speak_utf8() -> None:
    """Start this process anew in UTF-8 mode if the locale would refuse names beyond it; worker processes inherit."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def provide_caches() -> None:
    """Give librosa's compiler (numba) and matplotlib a folder of this run where the home cannot be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - never raises
    try:
        if not cache.is_absolute():  # the user has no home at all
            raise FileNotFoundError(cache)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return
    except OSError:
        scratch = tempfile.mkdtemp(prefix="avser-")  # of this user alone: numba runs what it finds in its cache
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        os.environ.setdefault(name, scratch)


if __name__ == "__main__":
    speak_utf8()
    provide_caches()
    from pipeline.errors import not_installed

    try:
        from pipeline.cli import main
    except ModuleNotFoundError as error:
        print(f"error: {not_installed(error, extra='pipeline')}", file=sys.stderr)
        sys.exit(2)
    main()
