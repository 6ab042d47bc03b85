"""From shards to batches: rows, splits, normalisation, chunks, targets."""
