"""Run extractors over items: cache, resume, quarantine, identity, Parquet tables written whole."""
