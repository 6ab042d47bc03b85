"""Named studies on the same shards and loop; none imports another."""
