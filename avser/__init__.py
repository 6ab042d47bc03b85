"""avser: the face teaches the voice. The front door to both halves, which are imported when they are needed."""

from importlib.metadata import version as _version

__version__ = _version("avser")
