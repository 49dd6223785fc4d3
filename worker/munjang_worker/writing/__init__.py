"""Output files: one writer for each format, and what a finished shard leaves beside its files."""
