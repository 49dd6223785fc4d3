"""The resident versions: load, verify, probe, warm, swap, drain, unload. Knows no transport."""
