"""Parquet shards to models, metrics and the report; knows nothing of media or of the pipeline."""
