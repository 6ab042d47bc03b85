"""What shards say of how their features were made, so that a model can make the same ones from a new file.

Only what decides the features is recorded. The code's hash is not: it changes with every edit of the extractors.
"""

from __future__ import annotations

from typing import Any

# What of the section ``acoustics`` and of the installed packages decides a column.
SETTINGS = {
    "lld": ("features", "frame_size", "frame_step"),
    "logmel": ("logmel", "mel"),
    "speech_model": ("speech_model",),
}
PACKAGES = {"lld": ("opensmile",), "logmel": ("librosa",), "speech_model": ("torch", "transformers")}


def describe_front_end(
    column: str, *, segments: dict[str, Any], audio: dict[str, Any], acoustics: dict[str, Any]
) -> dict[str, Any]:
    """Return the entry ``front_end`` of the shards' metadata, which goes into the model folder unchanged.

    Args:
        column: ``lld``, ``logmel`` or ``speech_model``.
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
        "acoustics": {name: settings[name] for name in SETTINGS[column]},
        "versions": {"ffmpeg": audio["ffmpeg"], **{name: packages[name] for name in PACKAGES[column]}},
    }
    return described | ({"speech_model": acoustics[column]} if column == "speech_model" else {})
