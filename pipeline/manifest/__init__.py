"""The manifest: one CSV a corpus, checked row by row."""

from pipeline.manifest.table import check_manifest
