"""The model registry: what is on disk, publishing and resolving, watching. Knows no model library and no transport."""
