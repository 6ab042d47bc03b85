"""``python -m trainer``."""

import os
import sys

if __name__ == "__main__":
    try:
        from trainer.cli import app

        app(prog_name="python -m trainer")
    except (KeyboardInterrupt, SystemExit) as end:
        status = end.code if isinstance(end, SystemExit) else 130
        if status != 130:
            raise
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)  # after Ctrl-C: a thread in the middle of an SVM cannot be stopped, and nobody waits for it
