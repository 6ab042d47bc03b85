"""The two ways in which input can be wrong: one item, or the whole run."""

from __future__ import annotations


class Quarantined(Exception):
    """One clip or segment cannot be used; its row says why and the run goes on.

    The message is the reason that users read in the table: name what is wrong and the remedy.
    """


class InputError(Exception):
    """The run as a whole cannot go on (wrong manifest, wrong parameter); shown without a traceback."""
