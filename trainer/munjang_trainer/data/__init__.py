"""Data files become prepared tables: reading, sources, hold-out splits, the leak check, the report."""
