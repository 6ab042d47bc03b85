"""The manifest: one CSV a corpus, checked row by row."""
