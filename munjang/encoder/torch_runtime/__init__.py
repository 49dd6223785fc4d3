"""Models in torch: whatever sentence-transformers loads, on any device; without padding on a GPU that can do that."""
