"""The one way in which a training run can be refused."""

from __future__ import annotations


class InputError(Exception):
    """The run cannot go on (wrong parameter, wrong shards, leaking split); shown without a traceback.

    The message names what is wrong, where, and the remedy.
    """
