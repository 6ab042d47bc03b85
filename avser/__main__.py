"""The command ``avser``, also ``python -m avser``: in UTF-8 whatever the locale, with caches that can be written."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    from pipeline.__main__ import provide_caches, speak_utf8
    from pipeline.errors import not_installed

    speak_utf8()
    provide_caches()
    try:
        from avser.cli import main as run
    except ModuleNotFoundError as error:
        print(f"error: {not_installed(error, extra='all')}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
