"""Input files: find them, cut them into shards, and read a shard's rows as blocks."""
