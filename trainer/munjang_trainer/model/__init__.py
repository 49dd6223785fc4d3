"""The model that training starts from: loading, pruning, adapters."""
