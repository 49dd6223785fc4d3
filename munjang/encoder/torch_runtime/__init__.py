"""Models in torch: all that sentence-transformers loads, on any device; without padding on GPUs that can do it."""
