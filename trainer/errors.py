"""The one way in which a training run can be refused, and what people are told while it goes on."""

from __future__ import annotations


class InputError(Exception):
    """The run cannot go on (wrong parameter, wrong shards, leaking split); shown without a traceback.

    The message names what is wrong, where, and the remedy.
    """


class Notice(UserWarning):
    """Something in the data that a reader of the results should know; shown as a line, and the run goes on."""
