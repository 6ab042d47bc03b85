"""Columns describe themselves."""

from __future__ import annotations

from pipeline.manifest.row import COLUMNS, EMOTIONS, REQUIRED, ManifestRow


def test_every_column_says_what_it_is():
    assert REQUIRED == ("clip_id", "corpus", "path", "speaker")
    assert all(field.description for field in ManifestRow.model_fields.values())
    assert {f"votes_{name}" for name in EMOTIONS} < set(COLUMNS)
