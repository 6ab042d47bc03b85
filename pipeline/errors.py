"""The ways in which work can fail: a clip for good, a clip for now, or the whole run."""

from __future__ import annotations


class Quarantined(Exception):
    """One clip or segment cannot be used; its row says why and the run goes on.

    The message is the reason that users read in the table: name what is wrong and the remedy. It is a lasting property
    of the file, and is remembered as long as the content stays the same.
    """


class Transient(Quarantined):
    """One clip failed by a passing fault of the machine: never remembered, tried again by the next run."""


class Missing(Transient):
    """The file that a manifest names is not there (yet)."""


class InputError(Exception):
    """The run as a whole cannot go on (wrong manifest or parameter, full disk); shown without a traceback."""


def not_installed(error: ModuleNotFoundError, *, extra: str) -> str:
    """Return what to tell people about a package that is missing; raise the error again if it is one of this project's.

    Args:
        error: of the import.
        extra: of pyproject.toml, that brings the package.
    """
    if (error.name or "").partition(".")[0] in {"", "avser", "pipeline", "trainer"}:
        raise error
    needs = f"install what this command needs: pip install '.[{extra}]' in the project's folder"
    return f"the package {error.name} is not installed; {needs}"
