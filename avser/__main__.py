"""The command ``avser``, also ``python -m avser``: in UTF-8 whatever the locale, with caches that can be written."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from pipeline.__main__ import provide_caches, speak_utf8

    speak_utf8()
    provide_caches()
    from avser.cli import main as run

    run()


if __name__ == "__main__":
    main()
