"""Media to Parquet shards: segments, audio, acoustics, faces, pseudo-labels."""
