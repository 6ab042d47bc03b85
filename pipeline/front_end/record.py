"""What shards say of how their features were made, so that a model can make the same ones from a new file.

Only what decides the features is recorded. The code's hash is not: it changes with every edit of the extractors.
"""

from __future__ import annotations

from typing import Any

from pipeline.front_end.grid import COMBINED

# What of the section ``acoustics`` and of the installed packages decides a column.
_SETTINGS = {
    "lld": ("features", "frame_size", "frame_step"),
    "logmel": ("logmel", "mel"),
    "speech_model": ("speech_model",),
}
_PACKAGES = {"lld": ("opensmile",), "logmel": ("librosa",), "speech_model": ("torch", "transformers")}
SPEECH_MODEL = "speech_model"


def settings_of(column: str) -> list[str]:
    """Return the keys of section ``acoustics`` that decide a column, or columns joined by ``+``."""
    return [key for name in column.split(COMBINED) for key in _SETTINGS[name]]


def packages_of(column: str) -> list[str]:
    """Return the packages that can change a column, or columns joined by ``+``."""
    return [package for name in column.split(COMBINED) for package in _PACKAGES[name]]


def describe_front_end(
    column: str, *, segments: dict[str, Any], audio: dict[str, Any], acoustics: dict[str, Any]
) -> dict[str, Any]:
    """Return the entry ``front_end`` of the shards' metadata, which goes into the model folder unchanged.

    Args:
        column: ``lld``, ``logmel`` or ``speech_model``; several joined by ``+``.
        segments: metadata of the segments table (`pipeline.engine.tables.read_metadata`).
        audio: metadata of the audio table.
        acoustics: metadata of the acoustics table.

    Returns:
        ``column``; the sections ``segments``, ``audio`` and ``acoustics`` as the tables were made with; ``versions`` of
        ffmpeg and of the packages; with a speech model ``speech_model``, its own description.
    """
    settings, packages = acoustics["identity"]["config"], acoustics["identity"]["packages"]
    described = {
        "column": column,
        "segments": segments["identity"]["config"],
        "audio": audio["identity"]["config"],
        "acoustics": {name: settings[name] for name in settings_of(column)},
        "versions": {"ffmpeg": audio["ffmpeg"], **{name: packages[name] for name in packages_of(column)}},
    }
    return described | ({"speech_model": acoustics["speech_model"]} if SPEECH_MODEL in column else {})
