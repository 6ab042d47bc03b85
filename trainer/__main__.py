"""``python -m trainer``: in UTF-8 whatever the locale, with caches that can be written whatever the home."""

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
    """Give matplotlib and torch a folder of this run where the home cannot be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - never raises
    try:
        if not cache.is_absolute():  # the user has no home at all
            raise FileNotFoundError(cache)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return
    except OSError:
        scratch = tempfile.mkdtemp(prefix="avser-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    for name in ("MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR"):
        os.environ.setdefault(name, scratch)


if __name__ == "__main__":
    speak_utf8()
    provide_caches()
    try:
        from trainer.cli import app

        app(prog_name="python -m trainer")
    except (KeyboardInterrupt, SystemExit) as end:
        status = end.code if isinstance(end, SystemExit) else 130
        if status != 130:
            raise
        if isinstance(end, KeyboardInterrupt):  # before any command began
            print("error: interrupted", file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)  # after Ctrl-C: a thread in the middle of an SVM cannot be stopped, and nobody waits for it
